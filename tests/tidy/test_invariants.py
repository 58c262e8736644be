"""The table of invariants in tests/README.md names tests that are there."""

from __future__ import annotations

import pathlib
import re

TESTS = pathlib.Path(__file__).parents[1]
ROW = re.compile(r"^\| *(\d*) *\|[^|]+\| (`[^|]+) \| `([^`]+)` \|$", re.MULTILINE)


def rows() -> list[tuple[str, list[str], pathlib.Path]]:
    """Number, tests and file of every row."""
    text = (TESTS / "README.md").read_text(encoding="utf-8")
    return [
        (number, re.findall(r"`(\w+)`", names), TESTS / file)
        for number, names, file in ROW.findall(text)
    ]


def test_every_invariant_has_a_row() -> None:
    """The mechanism's 21 invariants are all there, in order."""
    assert [int(number) for number, _, _ in rows() if number] == list(range(1, 22))


def test_every_test_in_the_table_exists() -> None:
    """What the table names is defined in the file that it names."""
    for number, names, file in rows():
        source = file.read_text(encoding="utf-8")
        assert names, f"row {number} names no test"
        for name in names:
            assert re.search(rf"^(def {name}\(|{name} = )", source, re.MULTILINE), (name, file)
