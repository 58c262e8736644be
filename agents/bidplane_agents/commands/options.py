"""Options that several commands share, so that they read alike everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

Kafka = Annotated[
    str, typer.Option("--kafka", metavar="HOST:PORT", help="Kafka's address; else BIDPLANE_KAFKA.")
]
Directory = Annotated[
    str, typer.Option("--dir", metavar="DIR", help="Working directory; else BIDPLANE_DIR.")
]
Agent = Annotated[
    str, typer.Option("--agent", metavar="TENANT/NAME", help="Who you are; else BIDPLANE_AGENT.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait.")]
