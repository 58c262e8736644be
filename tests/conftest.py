"""What a failed test on a running system shows besides its own words: what the system said last."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from live_system import Live


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the last errors of the system's logs: they are gone with the machine."""
    report = yield
    systems = [one for one in getattr(item, "funcargs", {}).values() if isinstance(one, Live)]
    if call.when == "call" and report.failed:
        report.sections += [("The system's last errors", live.last_errors()) for live in systems]
    return report
