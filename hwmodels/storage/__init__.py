"""What weights and activations take in memory: formats of weights, codes, and the places of activations."""
