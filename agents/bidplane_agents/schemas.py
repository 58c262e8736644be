"""The contract for other languages: JSON Schema of every event, and the table of topics.

Decides file names and the table's columns. Refuses to add anything that the registry does not say.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from bidplane_agents.errors import BadInput
from bidplane_topics import codec, event, registry

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
TABLE_BEGIN: Final = "<!-- topics: begin (written by `bidplane contract export`) -->"
TABLE_END: Final = "<!-- topics: end -->"
NEW_README: Final = f"# Topics of bidplane\n\n{TABLE_BEGIN}\n{TABLE_END}\n"


def documents() -> dict[str, str]:
    """File name to text: one schema for every event, and an index from topic to events."""
    found = {f"{wire_name(kind)}.json": _pretty(schema(kind)) for kind in kinds()}
    found["topics.json"] = _pretty({topic.name: _row(topic) for topic in registry.all_topics()})
    return found


def kinds() -> tuple[type[msgspec.Struct], ...]:
    """Every event of the registry, once."""
    return tuple(dict.fromkeys(kind for topic in registry.TOPICS for kind in topic.events))


def wire_name(kind: type[msgspec.Struct]) -> str:
    """``order_placed``: what a record's ``type`` says, or would say."""
    return event.tag_of(kind.__name__)


def schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON Schema of one event."""
    return {"$schema": DIALECT, "title": wire_name(kind), **msgspec.json.schema(kind)}


def table() -> str:
    """The topics as a Markdown table."""
    head = "| topic | key | partitioned by | events | written by | read by | kept |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    for topic in (*registry.all_topics(), registry.allocations("TENANT")):
        names = ", ".join(
            f"[{wire_name(kind)}](schemas/{wire_name(kind)}.json)" for kind in topic.events
        )
        cells = [
            f"`{topic.name}`", topic.key, topic.partitioned_by, names or "-", topic.writers,
            topic.readers, kept(topic),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def kept(topic: registry.Topic) -> str:
    """How long, in words."""
    if topic.compacted:
        return "last of each key"
    if topic.retention_ms == registry.FOREVER:
        return "for ever"
    return f"{topic.retention_ms // registry.DAY_MS} days"


def with_table(readme: str) -> str:
    """``readme`` with the table between its markers.

    Raises:
        BadInput: the markers are missing.
    """
    head, begin, rest = readme.partition(TABLE_BEGIN)
    _, end, tail = rest.partition(TABLE_END)
    if not begin or not end:
        raise BadInput(f"README.md lacks the lines {TABLE_BEGIN} and {TABLE_END}")
    return f"{head}{TABLE_BEGIN}\n{table()}\n{TABLE_END}{tail}"


def export(folder: Path) -> list[Path]:
    """Write FOLDER/schemas/*.json and the table in FOLDER/README.md; what changed.

    Raises:
        BadInput: the folder cannot be written, or its README.md has no place for the table.
    """
    texts = {folder / "schemas" / name: text for name, text in documents().items()}
    readme = folder / "README.md"
    changed = []
    try:
        before = readme.read_text(encoding="utf-8") if readme.exists() else NEW_README
        texts[readme] = with_table(before)
        for path, text in texts.items():
            if path.exists() and path.read_text(encoding="utf-8") == text:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    except OSError as error:
        raise BadInput(f"{error.filename}: {error.strerror}: choose a folder with --out") from error
    return changed


def _row(topic: registry.Topic) -> dict[str, Any]:
    return {
        "key": topic.key, "partitioned_by": topic.partitioned_by, "config": topic.config(),
        "events": [f"{wire_name(kind)}.json" for kind in topic.events],
    }  # fmt: skip


def _pretty(value: object) -> str:
    return codec.pretty(value) + "\n"
