"""`bidplane doctor`: what a running installation differs in from what it should be."""
