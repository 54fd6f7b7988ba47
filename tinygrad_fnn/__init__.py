"""Reverse-mode automatic differentiation of NumPy code, and the network that reads handwritten digits."""

__version__ = "0.1.0"
