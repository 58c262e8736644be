"""What one decision sees of what was received, and what stays behind."""

from __future__ import annotations

import msgspec
import pytest
from aiokafka import TopicPartition

from bidplane_streams.errors import LaneError, RecordsMissing
from bidplane_streams.lanes import changelog
from bidplane_streams.lanes.conf import Access, LaneConf
from bidplane_streams.lanes.logic import Record
from bidplane_streams.lanes.shared import Shared
from bidplane_streams.lanes.slot import Slot

CONF = LaneConf(
    app_id="app", name="lane", inputs=("first", "second"), globals_=("all",), changelog="rows",
    access=Access("nowhere:1"), instance="i",
)  # fmt: skip
FIRST, SECOND = TopicPartition("first", 3), TopicPartition("second", 3)


def _records(tp: TopicPartition, *offsets: int) -> list[Record]:
    return [Record(tp.topic, tp.partition, offset, 1, b"k", b"v", ()) for offset in offsets]


def _slot() -> Slot:
    shared = Shared(CONF, lambda: None)
    shared.next["all"] = 7
    slot = Slot(CONF, 3, shared)
    slot.begin(state={}, positions={"all": 5, "first": 10, "second": 20})
    return slot


def test_a_batch_takes_topics_in_order_and_records_by_offset() -> None:
    """Globals come first, inputs in the lane's order, each topic by offset, up to the limit."""
    slot = _slot()
    slot.receive(SECOND, _records(SECOND, 20, 22), 23)
    slot.receive(FIRST, _records(FIRST, 10, 11), 12)
    batch = slot.take(3)
    assert list(batch.records) == ["all", "first", "second"]
    assert [record.offset for record in batch.records["first"]] == [10, 11]
    assert [record.offset for record in batch.records["second"]] == [20]
    assert batch.positions == {"all": 7, "first": 12, "second": 22}


def test_what_is_not_committed_comes_again() -> None:
    """A batch that was taken but not committed is taken again with what followed."""
    slot = _slot()
    slot.receive(FIRST, _records(FIRST, 10), 11)
    slot.take(100)
    slot.receive(FIRST, _records(FIRST, 13), 15)
    again = slot.take(100)
    assert [record.offset for record in again.records["first"]] == [10, 13]
    slot.advance(again)
    assert slot.waiting() == 0
    assert slot.applied == {"all": 7, "first": 15, "second": 20}


def test_records_outside_the_positions_stop_the_lane() -> None:
    """The consumer moves only by the records that it hands over."""
    slot = _slot()
    with pytest.raises(RecordsMissing):
        slot.receive(FIRST, _records(FIRST, 9), 11)
    with pytest.raises(RecordsMissing):
        slot.receive(FIRST, _records(FIRST, 11), 11)
    with pytest.raises(RecordsMissing, match="moved from 10 to 12"):
        slot.check_unmoved(FIRST, 12)
    slot.check_unmoved(FIRST, 10)


def test_the_vector_is_written_with_every_change() -> None:
    """Rows and positions go together; a logic may not write the lane's own key."""
    rows = changelog.rows({b"a": b"1", b"b": None}, {"first": 12})
    assert rows[b"a"] == b"1"
    assert rows[b"b"] is None
    assert msgspec.json.decode(rows[changelog.VECTOR] or b"") == {"first": 12}
    with pytest.raises(LaneError):
        changelog.rows({changelog.VECTOR: b""}, {})
