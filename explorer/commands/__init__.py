"""Commands that need no study: what a network costs on a device, and what is known of devices."""
