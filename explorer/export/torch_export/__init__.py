"""A compressed network as a torch.export program."""
