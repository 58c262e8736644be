"""The rule `exact`: a window's optimum and Clarke payments, by HiGHS (README.md).

Decides nothing by itself; ``solving.clear`` is the way in. Importing it does not load the solver.
"""
