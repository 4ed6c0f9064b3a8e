"""Training: the float network, and the fine-tuning of a compressed one."""
