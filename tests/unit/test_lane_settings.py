"""Settings are read once, checked once, and refused in one line."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bidplane_streams import settings
from bidplane_streams.errors import SettingsRefused


def test_defaults_run_every_lane() -> None:
    """Without settings a worker runs everything against a local Kafka."""
    found = settings.load({})
    assert found.kafka == "127.0.0.1:9092"
    assert found.lanes == ("accounts", "markets", "router")
    assert found.data_dir.is_absolute()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("BIDPLANE_KAFKA", "localhost"),
        ("BIDPLANE_KAFKA", "a:1,b"),
        ("BIDPLANE_KAFKA", "a:99999"),
        ("BIDPLANE_APP_ID", "a b"),
        ("BIDPLANE_INSTANCE", "x" * 101),
        ("BIDPLANE_WEB_PORT", "0"),
        ("BIDPLANE_WEB_PORT", "70000"),
        ("BIDPLANE_USAGE_WINDOW_S", "-1"),
        ("BIDPLANE_LANES", "accounts,banks"),
    ],
)
def test_a_bad_setting_is_named(setting: str, value: str) -> None:
    """The refusal names the setting and its value."""
    with pytest.raises(SettingsRefused, match=f"^{setting}='"):
        settings.load({setting: value})


@pytest.mark.parametrize(
    "code",
    [
        "from bidplane_streams.commands_worker import worker; worker()",
        "import bidplane_streams.app",
    ],
)
def test_a_bad_setting_ends_the_process_with_code_2(code: str) -> None:
    """One line on stderr, exit code 2, no traceback: by our command and by Faust's."""
    environ = os.environ | {"BIDPLANE_LANES": "banks"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "'banks' is none of accounts, markets, router" in done.stderr
