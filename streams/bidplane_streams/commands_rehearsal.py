"""`bidplane up --dry-run`: prints what ``rehearsal`` found.

Decides the form of the list and its exit code: 0, or 2 where something is in the way.
"""

from __future__ import annotations

from bidplane_agents.commands import output
from bidplane_streams import rehearsal


def show(asked: rehearsal.Asked, *, as_json: bool) -> None:
    """Print every row; nothing is changed.

    Raises:
        BadInput: something is in the way, or a server that was given cannot be used.
        Unreachable: a server that was given does not answer.
    """
    rows = output.run(rehearsal.rehearse(asked))
    if as_json:
        output.json({"in_the_way": len(rehearsal.in_the_way(rows)), "rows": rows})
    else:
        cells = ((row.does, row.kind, row.name, row.detail) for row in rows)
        output.table(["would", "what", "name", "detail"], cells)
    if (lacking := rehearsal.refusal(rows)) is not None:
        raise lacking
