"""Open-loop load on a running system: schedules, generators, what was measured, reports.

Every figure counts from the moment a bid was due, whether it was sent then or later.
"""
