"""Sources: what is true elsewhere becomes records."""
