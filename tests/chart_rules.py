"""The chart's rules and their cases, read for tests."""

from __future__ import annotations

import pathlib
from typing import Any

import yaml

RULES = pathlib.Path(__file__).parents[1] / "helm" / "bidplane" / "rules"
CASES = pathlib.Path(__file__).parent / "watch" / "rules"


def rules() -> list[dict[str, Any]]:
    """Every rule of every file."""
    return [
        rule
        for file in sorted(RULES.glob("*.yaml"))
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
    ]


def alerts() -> dict[str, dict[str, Any]]:
    """Every alerting rule by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def recorded() -> dict[str, str]:
    """The expression of every recording rule by name."""
    return {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}


def cases() -> list[dict[str, Any]]:
    """Every case of every test file."""
    return [
        case
        for file in sorted(CASES.glob("*.yaml"))
        for case in yaml.safe_load(file.read_text())["tests"]
    ]
