"""The roofline of a network on a device: plain data, a figure of it, and the page around that."""
