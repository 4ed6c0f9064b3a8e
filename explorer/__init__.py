"""Hardware-aware design-space exploration of PyTorch networks."""

__version__ = "0.6.0"
