"""Who runs agents' control planes."""
