"""A compressed network as a state dict, packed, with a Python module that takes torch alone."""
