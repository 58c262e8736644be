"""The contract: registry, golden records, schemas, and what it refuses."""

from __future__ import annotations

import itertools
import re
import typing
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import orjson
import pytest

from bidplane_agents import samples, schemas
from bidplane_agents.errors import BadInput
from bidplane_topics import codec, errors, ids, outcomes, registry
from bidplane_topics.rejections import Rejection, is_transient, sentence

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "contract-v1.jsonl"


def golden() -> list[samples.Sample]:
    """Every record of version 1 that must decode for ever."""
    lines = GOLDEN.read_bytes().splitlines()
    return [msgspec.json.decode(line, type=samples.Sample) for line in lines]


def holds(whole: Any, part: Any) -> bool:
    """Whether ``whole`` has every field of ``part`` with the same value."""
    if isinstance(part, dict):
        return all(key in whole and holds(whole[key], value) for key, value in part.items())
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(holds, whole, part))
    return bool(whole == part)


@pytest.mark.parametrize("sample", golden(), ids=lambda sample: sample.topic)
def test_golden_records_decode_for_ever(sample: samples.Sample) -> None:
    """A record of version 1 decodes, loses nothing, and validates against today's schema."""
    event = samples.check(sample)
    written = codec.encode(event)
    assert holds(orjson.loads(written), orjson.loads(sample.raw()))
    assert codec.decode(registry.by_name(sample.topic), written) == event
    schema = schemas.schema(type(event))
    jsonschema.validate(orjson.loads(sample.raw()), schema)


def test_every_event_has_a_golden_record() -> None:
    """An event without one could change its shape unnoticed."""
    seen = {type(samples.check(sample)) for sample in golden()}
    assert seen == set(schemas.kinds())


def test_golden_records_fill_every_field() -> None:
    """A field that no golden record sets could be renamed unnoticed."""
    filled: dict[str, set[str]] = {}
    for sample in golden():
        event = samples.check(sample)
        found = filled.setdefault(type(event).__name__, set())
        found |= set(orjson.loads(sample.raw()))
    for kind in schemas.kinds():
        fields = {field.encode_name for field in msgspec.structs.fields(kind)}
        assert fields <= filled[kind.__name__], kind.__name__


def test_exported_schemas_are_todays() -> None:
    """What other languages read is what the code says: else run `bidplane contract export`."""
    there = {path.name: path.read_text() for path in (ROOT / "topics" / "schemas").glob("*.json")}
    assert there == schemas.documents()
    readme = (ROOT / "topics" / "README.md").read_text()
    assert schemas.with_table(readme) == readme


def test_export_writes_only_what_changed(tmp_path: Path) -> None:
    """A second export changes nothing; a README without the markers is refused."""
    assert len(schemas.export(tmp_path)) == len(schemas.documents()) + 1
    assert schemas.table() in (tmp_path / "README.md").read_text()
    assert schemas.export(tmp_path) == []
    (tmp_path / "README.md").write_text("no markers")
    with pytest.raises(BadInput, match="lacks the lines"):
        schemas.export(tmp_path)


def test_topic_names_and_wire_names_are_unique() -> None:
    """Two rows may not share a name, nor two events a tag or a schema file."""
    names = [topic.name for topic in registry.all_topics()]
    assert len(names) == len(set(names))
    tags = [schemas.wire_name(kind) for kind in schemas.kinds()]
    assert len(tags) == len(set(tags))


def test_topics_are_found_by_name() -> None:
    """Every row, dead letters and tenants' own topics; a stranger is refused."""
    for topic in registry.all_topics():
        assert registry.by_name(topic.name) == topic
    assert registry.by_name("bidplane.allocations.research.v1").partitioned_by == "one"
    with pytest.raises(errors.UnknownTopic, match="no topic of bidplane"):
        registry.by_name("bidplane.nonsense.v1")


def test_records_are_judged_by_the_brokers_clock() -> None:
    """Expiry and lease clocks follow the append time, so every topic must have it."""
    for topic in registry.all_topics():
        assert topic.config()["message.timestamp.type"] == "LogAppendTime"


def test_every_reason_has_a_sentence_and_a_class() -> None:
    """An agent is always told why, and whether to try again."""
    for reason in Rejection:
        assert re.fullmatch(r"[A-Z].*\.", sentence(reason)), reason
        assert is_transient(reason) in (True, False)


def test_terminal_kinds_are_kinds() -> None:
    """The set that promise 1 rests on names outcomes that exist."""
    assert set(typing.get_args(outcomes.OutcomeKind)) >= outcomes.TERMINAL_BID_KINDS


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b'{"type":"sink_alive","market":"Pool A","sink":"s"}', r"\$\.market"),
        (b'{"type":"sink_alive","market":"pool-a\\n","sink":"s"}', r"\$\.market"),
        (b'{"type":"nonsense"}', r"\$\.type"),
        (b'{"type":"lease_bound","market":"m","lease_id":"l","epoch":-1}', r"\$\.epoch"),
        (b"\xff\xfe", "bidplane.reports.v1"),
        (b"", "bidplane.reports.v1"),
        (None, "without a value"),
        (b"[" * 100_000, "bidplane.reports.v1"),
    ],
)
def test_what_is_no_event_is_refused_with_its_field(value: bytes | None, said: str) -> None:
    """Bad bytes are one error of ours, which says the topic and the field."""
    with pytest.raises(errors.MalformedRecord, match=said):
        codec.decode(registry.REPORTS, value)


def test_readers_ignore_fields_of_later_versions() -> None:
    """An old reader reads a new record."""
    value = b'{"type":"sink_alive","v":2,"market":"m","sink":"s","load":3}'
    assert codec.decode(registry.REPORTS, value).v == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"topic":"bidplane.reports.v1","value":{"type":"sink_alive","market":1,"sink":"s"}}',
         r"line 2: .*\$\.market"),
        ('{"topic":"bidplane.nonsense.v1","value":{}}', "line 2: .*no topic"),
        ('{"topic":"bidplane.reports.v1"}', "line 2: .*`value`"),
        ("nonsense", "line 2"),
        ('{"topic":"bidplane.markets-changelog.v1","value":{}}', "line 2: .*holds no events"),
    ],
)  # fmt: skip
def test_verify_names_file_line_and_field(tmp_path: Path, line: str, said: str) -> None:
    """The first wrong sample is found and named."""
    file = tmp_path / "samples.jsonl"
    good = '{"topic":"bidplane.markets.v1","value":{"type":"market_removed","market":"m"}}'
    file.write_text(f"{good}\n{line}\n")
    with pytest.raises(BadInput, match=said) as caught:
        samples.verify_file(file)
    assert str(file) in str(caught.value)


def test_verify_refuses_a_file_without_samples(tmp_path: Path) -> None:
    """Nothing checked is not the same as nothing wrong."""
    file = tmp_path / "empty.jsonl"
    file.write_text("\n")
    with pytest.raises(BadInput, match="holds no sample records"):
        samples.verify_file(file)


def test_verify_refuses_a_forged_sample(tmp_path: Path) -> None:
    """A sample that names its key must be signed by it."""
    signed = next(sample for sample in golden() if sample.public_key)
    forged = msgspec.structs.replace(signed, value=signed.value.replace("41", "42", 1))
    file = tmp_path / "forged.jsonl"
    file.write_bytes(msgspec.json.encode(forged))
    with pytest.raises(BadInput, match="does not match"):
        samples.verify_file(file)


def test_ids_follow_from_what_they_name() -> None:
    """Equal parts give equal ids, and no two lists of parts are confused."""
    assert ids.lease_id("m", "b") == ids.lease_id("m", "b")
    parts = ["a", "b", "ab", ""]
    found = {ids.digest(*some) for n in range(4) for some in itertools.product(parts, repeat=n)}
    assert len(found) == sum(len(parts) ** n for n in range(4))
