"""Images: loaded, checked, normalised, and split into train, search and held-out sets."""
