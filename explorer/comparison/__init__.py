"""Comparisons of criteria and of devices over many cases, with their statistics."""
