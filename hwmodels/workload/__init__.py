"""What is computed: layers, networks of them, and the files that they are read from."""
