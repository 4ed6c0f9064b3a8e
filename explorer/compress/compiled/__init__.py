"""Compressed networks as steps on integers, which take a fraction of the time."""
