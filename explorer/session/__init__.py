"""Exploring from Python: networks, images, scores and results as one has them in a notebook."""
