"""The network in integers alone: the program, how a compressed network is lowered to it, and its interpreter."""
