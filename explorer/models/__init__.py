"""Networks: reference networks, the user's own, their checkpoints and their training."""
