"""What a device's own compiler says of networks that the cost models priced."""
