"""Kafka's security options in the words that Faust wants.

Decides nothing: `bidplane_agents.connection.security` did. Faust hands these on to aiokafka as they
were, for its consumer, its producer and its making of topics alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faust.auth import SASLCredentials, SSLCredentials


def of(security: Mapping[str, Any]) -> Any:
    """Faust's credentials for aiokafka's options; None where Kafka is spoken to in the clear."""
    if not security:
        return None
    context = security.get("ssl_context")
    if "sasl_mechanism" not in security:
        return SSLCredentials(context)
    return SASLCredentials(
        username=security["sasl_plain_username"], password=security["sasl_plain_password"],
        mechanism=security["sasl_mechanism"], ssl_context=context,
    )  # fmt: skip
