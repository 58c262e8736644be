"""The core: pure decisions about money, devices and time.

Decides everything that bidplane decides. Refuses I/O, clocks, randomness and floats: given the same
events in the same order it gives the same answers on any machine, so that anyone may recompute it.
Its one entrance is ``state.apply``.
"""

if not __debug__:  # the invariants are plain asserts: without them the core must not run
    raise ImportError("bidplane's core refuses to load under -O: its asserts guard the money")
