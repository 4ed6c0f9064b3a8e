"""The report of a search's front."""
