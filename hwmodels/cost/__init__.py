"""What a workload takes on a device: counts of the array, traffic, cycles, energy, and how each number comes about."""
