"""The quantised network as a QONNX file."""
