"""The integer program as C99: one source file and one header, for a microcontroller or any other machine."""
