"""From an nn.Module to a canonical network and the graph of its layers, channel groups and activations."""
