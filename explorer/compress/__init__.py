"""What a candidate is, and how a network is pruned, shared and quantised after it."""
