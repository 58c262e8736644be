"""Policies side by side in simulated time: the market's own core against other schedulers."""
