"""A network's weights as a packed file: pruned, shared, Huffman-coded."""
