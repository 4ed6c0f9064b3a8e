"""The report of a comparison of criteria."""
