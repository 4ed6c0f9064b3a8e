"""A network's integers as one file: Huffman-coded as in Deep Compression, or at their entropy by a range coder."""
