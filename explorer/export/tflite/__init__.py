"""The integer program as a TensorFlow Lite file of int8, for microcontrollers and for Arm's and Google's compilers."""
