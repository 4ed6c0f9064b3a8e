"""The integer program as an ONNX file and a package."""
