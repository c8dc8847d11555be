"""The wiring: which topics feed which processors, the two runners and the Triton client."""
