"""Search spaces, seeds and samplers."""
