"""The whole audit: every part in turn, and what it comes to.

Decides the order of the parts and how a verdict reads. Refuses to read Kafka and to print.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from bidplane_agents.audit import fates, handovers, lanes, rounds, transits
from bidplane_agents.audit.accounts import Accounts
from bidplane_agents.audit.books import Books
from bidplane_agents.audit.contents import Contents
from bidplane_agents.audit.findings import PROMISES, Finding, Findings
from bidplane_agents.audit.log import Log
from bidplane_agents.audit.money import Money
from bidplane_agents.audit.tenure import Tenure
from bidplane_topics import registry

EXIT_SOUND = 0
EXIT_BROKEN = 5


def _silent(_: str) -> None:
    pass


def audit(log: Log, progress: Callable[[str], None] = _silent) -> Findings:
    """Check every promise. ``progress`` is told what is being done."""
    findings = Findings()
    progress(f"decoding {len(log)} records")
    contents = Contents(log)
    books = Books(contents)
    books.check_unique(findings)
    lanes.audit_numbers(contents, findings)
    lanes.audit_addresses(contents, findings)
    lanes.audit_unreadable(contents, findings)
    for partition in _partitions(log, registry.BIDS, registry.LEDGER, registry.OUTCOMES):
        progress(f"accounts of partition {partition}")
        money = Money(contents, partition, findings)
        money.fold()
        Accounts(books, money, findings).audit()
    transits.audit_transits(contents, findings)
    replayed = set()
    for partition in _partitions(log, registry.ORDERS, registry.ROUNDS, registry.LEASES):
        Tenure(contents, partition, findings).audit()
        if rounds.audit_rounds(books, partition, findings, progress) is not None:
            replayed.add(partition)
    handovers.audit_handovers(contents, findings)
    fates.audit_fates(books, findings)
    books.check_explained(findings, replayed)
    return findings


def _partitions(log: Log, *topics: registry.Topic) -> list[int]:
    return sorted({partition for topic in topics for partition in log.partitions(topic.name)})


def exit_code(findings: Findings) -> int:
    """0, or 5 when a promise is broken."""
    return EXIT_SOUND if findings.sound else EXIT_BROKEN


def as_data(findings: Findings, log: Log) -> dict[str, Any]:
    """The verdict for a program."""
    first = _earliest(findings)
    return {
        "sound": findings.sound,
        "records": len(log),
        "promises": [
            {
                "promise": number, "says": PROMISES[number],
                "checked": findings.checked[number], "broken": findings.broken_count[number],
                "first": _builtin(findings.first(number)),
            }
            for number in PROMISES
        ],
        "first": _builtin(first),
        "open": findings.open,
        "not_checked": findings.notes,
    }  # fmt: skip


def as_lines(findings: Findings, log: Log) -> list[str]:
    """The verdict for a person."""
    lines = [f"{len(log)} records read"]
    for number, says in PROMISES.items():
        broken, checked = findings.broken_count[number], findings.checked[number]
        state = f"BROKEN {broken} times" if broken else "kept"
        lines.append(f"promise {number}: {state}, {checked} checks: {says}")
        first = findings.first(number)
        if first is not None:
            lines.append(f"  first: {first.sentence()}")
    if findings.open:
        text = ", ".join(f"{count} {what}" for what, count in sorted(findings.open.items()))
        lines.append(f"open at the end of the log: {text}")
    lines += [f"not checked: {sentence}" for sentence in findings.notes]
    lines.append(_sum(findings))
    return lines


def _sum(findings: Findings) -> str:
    broken = [str(number) for number, count in findings.broken_count.items() if count]
    if not broken:
        return "all promises kept"
    return f"{len(broken)} of {len(PROMISES)} promises broken: {', '.join(broken)}"


def _earliest(findings: Findings) -> Finding | None:
    found = [one for number in PROMISES if (one := findings.first(number)) is not None]
    return min(
        found, key=lambda one: (one.at_ms, one.topic, one.partition, one.offset), default=None
    )


def _builtin(finding: Finding | None) -> Any:
    return None if finding is None else msgspec.to_builtins(finding)
