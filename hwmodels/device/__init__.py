"""What computes: accelerators and their parts, the laws of their arithmetic, and profiles in files."""
