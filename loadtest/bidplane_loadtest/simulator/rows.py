"""CSV files as rows that can complain: every refusal names file, line, field and the mend.

Decides what a usable field is. Refuses to know what the fields mean.
"""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Iterator
from typing import NoReturn

from bidplane_loadtest.traces import TraceUnusable


class Row:
    """One line of a file, with where it stands."""

    def __init__(self, path: pathlib.Path, number: int, fields: dict[str, str]) -> None:
        self.path, self.number, self._fields = path, number, fields

    def refuse(self, field: str, why: str) -> NoReturn:
        """Say what is wrong with a field, and where.

        Raises:
            TraceUnusable: always.
        """
        raise TraceUnusable(f"{self.path}, line {self.number}, field {field}: {why}")

    def text(self, field: str) -> str:
        """The field as it stands."""
        return self._fields[field]

    def integer(self, field: str, least: int = 0) -> int:
        """The field as a whole number of at least ``least``."""
        text = self._fields[field]
        if not text.isascii() or not text.isdigit() or int(text) < least:
            self.refuse(field, f"{text!r} is no whole number of {least} or more")
        return int(text)


def read(path: pathlib.Path, columns: tuple[str, ...], mend: str) -> Iterator[Row]:
    """Rows of a CSV file that has at least these columns; ``mend`` says what to give instead.

    Raises:
        TraceUnusable: no such file, no such column, or no CSV.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.DictReader(file, strict=True, restkey="+", restval="")
            if missing := [name for name in columns if name not in (lines.fieldnames or ())]:
                raise TraceUnusable(
                    f"{path}, line 1, field {missing[0]}: no such column: give {mend}"
                )
            for fields in lines:
                row = Row(path, lines.line_num, fields)
                if "+" in fields:
                    row.refuse("+", "more fields than columns")
                yield row
    except OSError as error:
        raise TraceUnusable(f"{path}: {error.strerror}: give {mend}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise TraceUnusable(f"{path}: is no CSV file in UTF-8 ({error}): give {mend}") from error
