"""A folder with the pictures of a comparison and one HTML page that needs nothing else.

Decides the page's form. Refuses to draw: that is plots.py.
"""

from __future__ import annotations

import base64
import html
import pathlib
from collections.abc import Mapping, Sequence
from typing import Final

from bidplane_loadtest.simulator import play, plots

PAGE: Final = "report.html"
STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem}"
    "table{border-collapse:collapse;font-size:13px}td,th{padding:.2rem .6rem;text-align:right;"
    "border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}"
    "img{max-width:100%;display:block;margin:1rem 0}div{overflow-x:auto}"
)


def write(folder: pathlib.Path, played: Sequence[play.Played]) -> pathlib.Path:
    """Write the pictures and the page; the page's path.

    Raises:
        BadInput: matplotlib is not installed.
    """
    pictures = plots.draw(played)
    folder.mkdir(parents=True, exist_ok=True)
    for name, png in pictures.items():
        (folder / f"{name}.png").write_bytes(png)
    path = folder / PAGE
    path.write_text(page(played, pictures), encoding="utf-8")
    return path


def page(played: Sequence[play.Played], pictures: Mapping[str, bytes]) -> str:
    """The page: what was run, the table as text, the other pictures inline."""
    scene = played[0].history.scene
    heads, rows = play.table([one.result for one in played])
    notes = "".join(f"<li>{count} {html.escape(text)}</li>" for text, count in scene.notes.items())
    images = "".join(
        f'<img alt="{html.escape(name)}" src="data:image/png;base64,'
        f'{base64.b64encode(png).decode()}">'
        for name, png in pictures.items() if name != "table"
    )  # fmt: skip
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>bidplane: policies compared</title><style>{STYLE}</style>"
        "<h1>Policies side by side in simulated time</h1>"
        f"<p>{html.escape(scene.source)}: {len(scene.jobs)} jobs on {len(scene.nodes)} nodes with "
        f"{scene.capacity_milli // 1000} GPUs, {scene.horizon_ms / plots.HOUR_MS:.1f} hours. "
        "Means over seeds; pictures show the first.</p>"
        f"<ul>{notes}</ul><div><table><tr>{_cells('th', heads)}</tr>"
        + "".join(f"<tr>{_cells('td', row)}</tr>" for row in rows)
        + f"</table></div>{images}</html>\n"
    )


def _cells(tag: str, texts: Sequence[str]) -> str:
    return "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in texts)
