"""The report of relevance scores."""
