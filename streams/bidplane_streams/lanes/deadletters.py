"""Dead letters: the original bytes of a record that could not be believed, with reason and origin.

Decides their form. Refuses to judge: the reason comes from whoever could not read the record.
"""

from __future__ import annotations

from bidplane_streams import metrics
from bidplane_streams.lanes.logic import Effects, Headers, Output, Record
from bidplane_topics import registry
from bidplane_topics.rejections import Rejection

REASON_HEADER = "bidplane-reason"
DETAIL_HEADER = "bidplane-detail"
ORIGIN_HEADER = "bidplane-origin"
DETAIL_MAX = 500
# Whatever somebody sends must fit a transaction here, or it would stop the lane for good.
TRUNCATED_HEADER = "bidplane-truncated"
VALUE_MAX = 256 * 1024
HEADERS_MAX = 16
HEADER_MAX = 1024


def bury(effects: Effects, record: Record, reason: Rejection, detail: str) -> None:
    """Write the record to the dead letters of its topic, same partition, headers kept and added."""
    metrics.DEAD_LETTERS.labels(record.topic, reason.value).inc()
    topic = registry.dead_letters(registry.by_name(record.topic))
    origin = f"{record.topic}/{record.partition}/{record.offset}"
    added = (
        (REASON_HEADER, reason.value.encode()),
        (DETAIL_HEADER, detail[:DETAIL_MAX].encode(errors="replace")),
        (ORIGIN_HEADER, origin.encode()),
    )
    output = Output(_cut(record.key), _cut(record.value), (*_kept(record), *added))
    effects.emit(topic.name, record.partition, output)


def _cut(raw: bytes | None) -> bytes | None:
    return raw if raw is None else raw[:VALUE_MAX]


def _kept(record: Record) -> Headers:
    """The sender's headers, as far as they are small; a note where the value was cut."""
    small = tuple(
        (name, raw)
        for name, raw in record.headers[:HEADERS_MAX]
        if len(name) <= HEADER_MAX and len(raw or b"") <= HEADER_MAX
    )
    size = max(len(record.value or b""), len(record.key or b""))
    return small if size <= VALUE_MAX else (*small, (TRUNCATED_HEADER, str(size).encode()))
