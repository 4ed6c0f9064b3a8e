"""Studies: what is explored, with which settings, and what came out."""
