"""Errors of the contract. One root, so that a caller can tell our refusals from bugs.

ContractError (ValueError)     the value breaks the contract; says what, where, and the mend
├── MalformedRecord            bytes that do not decode to an event of their topic
├── SignatureRefused           the envelope is unsigned, forged or signed by an unknown key
└── UnknownTopic               a topic name that the registry does not hold
"""

from __future__ import annotations


class ContractError(ValueError):
    """A value breaks the contract."""


class MalformedRecord(ContractError):
    """Bytes that do not decode to an event of their topic."""


class SignatureRefused(ContractError):
    """An envelope that is unsigned, forged or signed by a key that nobody registered."""


class UnknownTopic(ContractError):
    """A topic name that the registry does not hold."""
