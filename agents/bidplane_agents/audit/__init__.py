"""The independent auditor: recomputes rounds, balances and promises from the log alone.

Plain and slow on purpose, and sharing nothing with the market it judges; also the oracle of its
tests.
"""
