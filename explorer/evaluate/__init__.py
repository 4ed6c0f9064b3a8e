"""What a candidate is worth: accuracy, and cost on a device."""
