"""The quantised network as an ONNX file of QDQ form."""
