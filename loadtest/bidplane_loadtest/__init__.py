"""Load on a running system: the demo, its workload, and benchmarks."""
