"""Names and ids: what may be one."""

import pytest

from bidplane_topics import ids
from bidplane_topics.errors import ContractError


@pytest.mark.parametrize("name", ["a", "0", "research", "a-b", "x" * 32])
def test_names_are_short_dns_labels(name: str) -> None:
    """A name can become part of a Kubernetes name and of a topic."""
    assert ids.check_name("tenant", name) == name


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "a.b", "x" * 33, "a\n", "é", "a b"])
def test_anything_else_is_no_name(name: str) -> None:
    """Whatever Kubernetes or Kafka would refuse later is refused here."""
    with pytest.raises(ContractError, match="tenant"):
        ids.check_name("tenant", name)


def test_an_agent_is_a_tenant_and_a_name() -> None:
    """Both halves are checked."""
    assert ids.split_agent("research/tuner") == ("research", "tuner")
    assert ids.agent_id("research", "tuner") == "research/tuner"
    for wrong in ("research", "/tuner", "research/", "a/b/c", "R/t"):
        with pytest.raises(ContractError):
            ids.split_agent(wrong)


def test_a_bid_id_names_its_agent() -> None:
    """Who bid is read from the id, and nothing else passes for one."""
    bid = ids.bid_id("research", "tuner", "ab" * 8, 41, 0)
    assert bid == "research/tuner/abababababababab/41/0"
    assert ids.agent_of_bid(bid) == ("research", "tuner")
    assert ids.agent_of_bid("research/tuner") is None


def test_a_lease_id_fits_a_kubernetes_name() -> None:
    """It is short, lower-case, and starts with a letter."""
    lease = ids.lease_id("pool-a", "b" * 200)
    assert len(lease) == 25
    assert ids.check_name("lease", lease) == lease


def test_a_key_id_follows_from_the_key() -> None:
    """Sixteen hex digits of its SHA-256."""
    assert ids.key_id(b"\0" * 32) == "66687aadf862bd77"
