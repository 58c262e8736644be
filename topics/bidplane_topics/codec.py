"""Bytes to events and back: the only encoder in the repository.

Plain JSON on the wire. Typed decoding by msgspec was measured at 0.67 µs a bid, beside 1.0 µs for
orjson into dicts and 1.56 µs for orjson followed by a conversion; so msgspec decodes and encodes
events, and orjson writes what has no type (canonical JSON for digests, command-line output).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import orjson

from bidplane_topics import registry
from bidplane_topics.errors import MalformedRecord

_ENCODER: Final = msgspec.json.Encoder(order=None)
_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {}


def encode(event: msgspec.Struct) -> bytes:
    """An event as it goes on the wire."""
    return _ENCODER.encode(event)


def decode(topic: registry.Topic, value: bytes | None) -> Any:
    """The event in a record of ``topic``.

    Raises:
        MalformedRecord: the bytes are no event of that topic; the message names the field.
    """
    decoder = _DECODERS.get(topic.name)
    if decoder is None:
        union: Any = topic.events[0]
        for event in topic.events[1:]:
            union |= event
        decoder = _DECODERS[topic.name] = msgspec.json.Decoder(union)
    if value is None:
        raise MalformedRecord(f"{topic.name}: a record without a value")
    try:
        return decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRecord(f"{topic.name}: {error}") from error


def canonical(value: object) -> bytes:
    """JSON with sorted keys and no spaces: the bytes under every digest. Structs become objects."""
    return orjson.dumps(msgspec.to_builtins(value), option=orjson.OPT_SORT_KEYS)


def pretty(value: object) -> str:
    """JSON for a person or a pipe."""
    plain = msgspec.to_builtins(value)
    return orjson.dumps(plain, option=orjson.OPT_INDENT_2).decode()
