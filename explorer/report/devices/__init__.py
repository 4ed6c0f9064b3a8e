"""The report of one front on several devices."""
