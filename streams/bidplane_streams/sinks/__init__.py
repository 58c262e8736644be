"""Sinks: level-triggered workers that make leases and agents real in Kubernetes."""
