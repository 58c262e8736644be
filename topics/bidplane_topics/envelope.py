"""Signatures: who sent a record, since a Kafka consumer cannot see its producer.

The value is plain JSON that a person can type. Key id and signature (Ed25519, base64) travel in
headers. The signature covers the topic's name, a zero byte and the value's bytes (RFC 8032 by
PyNaCl).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from nacl import exceptions, signing

from bidplane_topics import codec, ids, registry
from bidplane_topics.bids import RECORD_BYTES_MAX, Envelope
from bidplane_topics.errors import SignatureRefused
from bidplane_topics.rejections import Rejection, sentence

KEY_HEADER: Final = "bidplane-key"
SIGNATURE_HEADER: Final = "bidplane-signature"

Headers = Iterable[tuple[str, bytes]]


class SigningKey:
    """A private key. Holds secrets: never printed, never put into an argument."""

    def __init__(self, seed: bytes) -> None:
        """``seed`` is the 32 secret bytes."""
        self._key = signing.SigningKey(seed)
        self.public_key: bytes = bytes(self._key.verify_key)
        self.key_id = ids.key_id(self.public_key)

    @classmethod
    def from_text(cls, text: str) -> SigningKey:
        """Read the base64 that ``to_text`` wrote.

        Raises:
            SignatureRefused: it is no key.
        """
        try:
            return cls(base64.b64decode(text.strip(), validate=True))
        except (binascii.Error, ValueError, exceptions.CryptoError) as error:
            raise SignatureRefused("this is no signing key: expected 32 bytes in base64") from error

    def to_text(self) -> str:
        """The secret seed in base64, for a file with mode 0600."""
        return base64.b64encode(bytes(self._key)).decode()

    def public_text(self) -> str:
        """The public key in base64, as AgentKey carries it."""
        return base64.b64encode(self.public_key).decode()

    def sign(self, topic: str, value: bytes) -> list[tuple[str, bytes]]:
        """The headers that make ``value`` this agent's word on ``topic``."""
        signature = self._key.sign(_covered(topic, value)).signature
        return [
            (KEY_HEADER, self.key_id.encode()),
            (SIGNATURE_HEADER, base64.b64encode(signature)),
        ]


def _covered(topic: str, value: bytes) -> bytes:
    return topic.encode() + b"\0" + value


def seal(envelope: Envelope, key: SigningKey) -> tuple[bytes, list[tuple[str, bytes]]]:
    """The record's value and headers for the bids topic."""
    value = codec.encode(envelope)
    return value, key.sign(registry.BIDS.name, value)


class Refused(SignatureRefused):
    """A record that nobody is proven to have sent; ``reason`` goes to the dead letters."""

    def __init__(self, reason: Rejection, detail: str = "") -> None:
        """``detail`` adds what the sentence cannot know."""
        super().__init__(f"{sentence(reason)} {detail}".strip())
        self.reason = reason


class Signed(NamedTuple):
    """What a record's headers claim: whose key, and its signature."""

    key_id: str
    signature: bytes

    def seal(self) -> str:
        """Hex SHA-256 of the signature, which nobody can guess who has not seen the record."""
        return hashlib.sha256(self.signature).hexdigest()


def key_of(headers: Headers) -> str:
    """The key id that a record claims.

    Raises:
        Refused: a header is missing, repeated or no ASCII.
    """
    return signed(headers).key_id


def seal_of(headers: Headers) -> str:
    """The seal of a record (``Signed.seal``).

    Raises:
        Refused: a header is missing, repeated or no base64.
    """
    return signed(headers).seal()


def verify(topic: str, value: bytes, headers: Headers, public_keys: Mapping[str, bytes]) -> str:
    """Check size and signature; return the key id that signed.

    ``public_keys`` maps key ids to raw public keys. Whether the key may speak for the agent that
    the value names, and is valid now, is the caller's to check.

    Raises:
        Refused: oversized, unsigned, unknown key or forged.
    """
    if len(value) > RECORD_BYTES_MAX:
        raise Refused(Rejection.OVERSIZED)
    claimed = signed(headers)
    check(topic, value, claimed, public_keys.get(claimed.key_id))
    return claimed.key_id


def check(topic: str, value: bytes, claimed: Signed, public: bytes | None) -> None:
    """Check size and signature against a raw public key; None for a key that nobody knows.

    Raises:
        Refused: oversized, unknown key or forged.
    """
    if len(value) > RECORD_BYTES_MAX:
        raise Refused(Rejection.OVERSIZED)
    if public is None:
        raise Refused(Rejection.UNKNOWN_KEY)
    try:
        signing.VerifyKey(public).verify(_covered(topic, value), claimed.signature)
    except (exceptions.CryptoError, ValueError) as error:
        raise Refused(Rejection.FORGED) from error


def signed(headers: Headers) -> Signed:
    """The claim in a record's headers.

    Raises:
        Refused: a header is missing, repeated or does not decode.
    """
    found: dict[str, list[bytes]] = {KEY_HEADER: [], SIGNATURE_HEADER: []}
    for name, raw in headers:
        if name in found:
            found[name].append(raw)
    keys, signatures = found[KEY_HEADER], found[SIGNATURE_HEADER]
    if len(keys) != 1 or len(signatures) != 1 or keys[0] is None or signatures[0] is None:
        raise Refused(Rejection.UNSIGNED)
    try:
        return Signed(keys[0].decode("ascii"), base64.b64decode(signatures[0], validate=True))
    except (UnicodeDecodeError, binascii.Error, ValueError) as error:
        raise Refused(Rejection.UNSIGNED, "The headers do not decode.") from error
