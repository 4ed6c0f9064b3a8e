"""Artefacts of a chosen candidate: configuration, ONNX network, and the check of both."""
