"""Fast clearing: the same answers as ``market.clearing``, from a compiled kernel.

Decides how a window is cleared quickly. Refuses to decide anything about the market: the pure path
in ``market`` says what is right, and takes over wherever the kernel is missing or out of bounds.
"""
