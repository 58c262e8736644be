"""Signatures: what is accepted, and every way to be refused."""

from __future__ import annotations

import base64

import orjson
import pytest

from bidplane_topics import bids, codec, envelope, registry
from bidplane_topics.errors import MalformedRecord, SignatureRefused
from bidplane_topics.rejections import Rejection

KEY = envelope.SigningKey(bytes(range(32)))
OTHER = envelope.SigningKey(b"\1" * 32)
PUBLIC = {KEY.key_id: KEY.public_key}
TOPIC = registry.BIDS.name


def an_envelope() -> bids.Envelope:
    """One command, typed by nobody in particular."""
    command = bids.Command(cancel=bids.Cancel(bid_id="b"))
    return bids.Envelope(
        v=1, tenant="t", agent="a", sequence=1, expires_at_ms=1, commands=(command,)
    )


def refused(value: bytes, headers: envelope.Headers) -> Rejection:
    """Why it is refused."""
    with pytest.raises(envelope.Refused) as caught:
        envelope.verify(TOPIC, value, headers, PUBLIC)
    return caught.value.reason


def test_a_sealed_record_verifies() -> None:
    """Whoever knows the public key believes the bytes, and learns the key's id."""
    value, headers = envelope.seal(an_envelope(), KEY)
    assert envelope.verify(TOPIC, value, headers, PUBLIC) == KEY.key_id
    assert codec.decode(registry.BIDS, value) == an_envelope()


def test_any_altered_byte_is_forgery() -> None:
    """Neither value, topic nor signature can change."""
    value, headers = envelope.seal(an_envelope(), KEY)
    for index in range(len(value)):
        changed = bytearray(value)
        changed[index] ^= 1
        assert refused(bytes(changed), headers) is Rejection.FORGED
    with pytest.raises(envelope.Refused):
        envelope.verify("bidplane.other.v1", value, headers, PUBLIC)
    short = [headers[0], (envelope.SIGNATURE_HEADER, base64.b64encode(b"short"))]
    assert refused(value, short) is Rejection.FORGED


def test_a_strangers_key_is_unknown() -> None:
    """A good signature by a key that nobody registered proves nothing."""
    value, headers = envelope.seal(an_envelope(), OTHER)
    assert refused(value, headers) is Rejection.UNKNOWN_KEY


def test_missing_repeated_or_undecodable_headers_are_no_signature() -> None:
    """Exactly one of each, in base64."""
    value, (key, signature) = envelope.seal(an_envelope(), KEY)
    for headers in (
        [], [key], [signature], [key, key, signature], [key, signature, signature],
        [key, (envelope.SIGNATURE_HEADER, b"!!")], [(envelope.KEY_HEADER, b"\xff"), signature],
    ):  # fmt: skip
        assert refused(value, headers) is Rejection.UNSIGNED


def test_an_oversized_record_is_not_even_checked() -> None:
    """Size comes first: it is the cheapest."""
    assert refused(b"x" * (bids.RECORD_BYTES_MAX + 1), []) is Rejection.OVERSIZED


def test_a_key_survives_its_text() -> None:
    """The seed in base64 is the key; anything else is refused."""
    assert envelope.SigningKey.from_text(KEY.to_text() + "\n").public_key == KEY.public_key
    for wrong in ("", "!!", base64.b64encode(b"short").decode()):
        with pytest.raises(SignatureRefused):
            envelope.SigningKey.from_text(wrong)


def placed(**changes: object) -> bytes:
    """A place command as typed, with fields changed."""
    alternative = {"shape": "1", "duration_ms": 1}
    given = {"market": "m", "value_micros": 1, "alternatives": [alternative], **changes}
    return orjson.dumps({"place": given})


def selecting(selector: object) -> list[object]:
    """Alternatives with that selector."""
    return [{"shape": "1", "duration_ms": 1, "selector": selector}]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (placed(alternatives=[]), "alternatives"),
        (placed(value_micros=0), "value_micros"),
        (placed(value_micros=1.5), "value_micros"),
        (placed(valeu=1), "valeu"),
        (placed(alternatives=[{"shape": "3", "duration_ms": 1}]), "shape"),
        (placed(level_max=2), "elastic"),
        (placed(mode="elastic", level_min=3, level_max=2), "level_min"),
        (placed(alternatives=selecting({"a": {}})), "condition"),
        (placed(alternatives=selecting({"a": {"in": ["b"], ">=": 1}})), "condition"),
        (b'{"cancel":{"bid_id":"b"},"release":{"lease_id":"l"}}', "exactly one"),
        (b"{}", "exactly one"),
    ],
)
def test_a_mistyped_command_is_refused_with_its_field(command: bytes, said: str) -> None:
    """A person types these: whatever is misspelt is an error, never ignored."""
    value = b'{"v":1,"tenant":"t","agent":"a","sequence":1,"expires_at_ms":1,"commands":[%s]}'
    with pytest.raises(MalformedRecord, match=said):
        codec.decode(registry.BIDS, value % command)


def test_the_bid_of_the_manual_decodes() -> None:
    """What the README shows as typed by hand is a bid."""
    value = b"""{"v": 1, "tenant": "research", "agent": "tuner", "sequence": 41,
      "expires_at_ms": 1795000000000, "commands": [{"place": {"market": "pool-a", "mode": "rigid",
      "value_micros": 3500000, "alternatives": [
        {"selector": {"productName": "H100", "zone": {"in": ["a", "b"]}, "memory": {">=": 80}},
         "shape": "2", "duration_ms": 600000}]}}]}"""
    place = codec.decode(registry.BIDS, value).commands[0].chosen()
    assert place.alternatives[0].selector["memory"].at_least == 80
    assert place.alternatives[0].selector["zone"].one_of == ("a", "b")
