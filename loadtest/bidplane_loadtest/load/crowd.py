"""The agents of a load test: registered in bulk, with keys that a second run finds again.

Decides names (tenants load-0 to load-7), the file that holds the keys, and budgets. Refuses to bid.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

import msgspec

from bidplane_agents import connection, log, operator, profiles
from bidplane_agents.errors import BadInput, Unreachable
from bidplane_loadtest.players import stop
from bidplane_topics import agents as events
from bidplane_topics import codec, envelope, ids, money, registry

TENANTS: Final = 8
FILE: Final = "agents.json"
FILE_MODE: Final = 0o600
ANSWER_TIMEOUT_S: Final = 120.0
# A tenant's first record may come before its lane knows the tenant: words are repeated so often.
REPEAT_S: Final = 5.0
Say = Callable[[str], None]


def names(count: int) -> list[tuple[str, str]]:
    """(tenant, agent) of every agent, spread over the tenants."""
    return [(f"load-{number % TENANTS}", f"agent-{number:05d}") for number in range(count)]


def tenants_of(count: int, processes: int, index: int) -> tuple[str, ...]:
    """The tenants that one of the processes stands for."""
    used = min(count, TENANTS)
    return tuple(f"load-{number}" for number in range(used) if number % processes == index)


def process_of(agent: int, processes: int) -> int:
    """The process that speaks for an agent: that of its tenant."""
    return agent % TENANTS % processes


async def gather(
    reached: connection.Connection, folder: pathlib.Path, budgets: Sequence[int], run: str, say: Say
) -> list[profiles.Profile]:
    """Register agents, as many as there are budgets, and give each its budget.

    Their keys are kept in ``folder`` for the next run.

    Raises:
        Unreachable: Kafka or the accounts lane does not answer.
        BadInput: the file with the keys cannot be used.
    """
    path = folder / FILE
    known = _load(path)
    async with operator.Operator(reached) as hand:
        directory = await hand.directory()
        wanted = names(len(budgets))
        partitions = {
            tenant: await hand.register_tenant(tenant, directory)
            for tenant in dict.fromkeys(tenant for tenant, _ in wanted)
        }
    people = [known.get(f"{t}/{a}") or _person(t, a, partitions[t]) for t, a in wanted]
    people = [msgspec.structs.replace(one, partition=partitions[one.tenant]) for one in people]
    _save(path, {**known, **{one.id: one for one in people}})
    fresh = [one for one in people if not _registered(one, directory)]
    tails = [log.Tail(reached, registry.allocations(tenant).name) for tenant in partitions]
    for tail in tails:
        await tail.from_now()
    say(f"{len(people)} agents in {len(partitions)} tenants, {len(fresh)} of them new")
    async with _Bulk(reached, tails) as bulk:
        await bulk.tell(registry.AGENTS, [(one, _registration(one, directory)) for one in fresh],
                        "registered")  # fmt: skip
        grants = [(one, _grant(one, run, most)) for one, most in zip(people, budgets, strict=True)]
        await bulk.tell(registry.ACCOUNTS, grants, "granted")
    return people


class _Bulk:
    """Writes many operators' records at once and waits until every agent has heard of its own."""

    def __init__(self, reached: connection.Connection, tails: Sequence[log.Tail]) -> None:
        self._producer = reached.producer(linger_ms=5)
        self._reached, self._tails = reached, tails
        self._heard: set[tuple[str, str]] = set()
        self._closing = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Listen, and connect."""
        listeners = [asyncio.create_task(self._listen(tail)) for tail in self._tails]
        self._closing.push_async_callback(stop, listeners)
        await self._closing.enter_async_context(self._reached.opened(self._producer))
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._closing.aclose()

    async def _listen(self, tail: log.Tail) -> None:
        async for record in tail.records():
            outcome = codec.decode(registry.OUTCOMES, record.value)
            self._heard.add((outcome.kind, ids.agent_id(outcome.tenant, outcome.agent)))

    async def tell(
        self, topic: registry.Topic, words: Sequence[tuple[profiles.Profile, Any]], kind: str
    ) -> None:
        """Write, and write again to those that hear nothing: their ids make that harmless.

        Raises:
            Unreachable: some were told nothing in two minutes.
        """
        silent = list(words)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                while silent:
                    await self._send(topic, silent)
                    silent = await self._unheard(silent, kind)
        if silent:
            raise Unreachable(
                f"{len(silent)} of {len(words)} agents were not told {kind!r} in "
                f"{ANSWER_TIMEOUT_S:.0f} s: look at the worker's log"
            )

    async def _send(
        self, topic: registry.Topic, words: Sequence[tuple[profiles.Profile, Any]]
    ) -> None:
        with self._reached.reaching():
            sent = [
                await self._producer.send(
                    topic.name, codec.encode(event), _key(one, event), one.partition
                )
                for one, event in words
            ]
            await asyncio.gather(*sent)

    async def _unheard(
        self, words: Sequence[tuple[profiles.Profile, Any]], kind: str
    ) -> list[tuple[profiles.Profile, Any]]:
        """Those who still hear nothing when nobody has heard anything for a while."""
        left, before = list(words), len(words) + 1
        while left and len(left) < before:
            before = len(left)
            for _ in range(int(REPEAT_S * 10)):
                left = [pair for pair in left if (kind, pair[0].id) not in self._heard]
                if not left:
                    break
                await asyncio.sleep(0.1)
        return left


def _key(one: profiles.Profile, event: Any) -> bytes:
    grant = getattr(event, "grant_id", "")
    return str(grant or one.id).encode()


def _person(tenant: str, agent: str, partition: int) -> profiles.Profile:
    key = envelope.SigningKey(secrets.token_bytes(32))
    return profiles.Profile(tenant=tenant, agent=agent, partition=partition, key=key.to_text())


def _registered(one: profiles.Profile, directory: operator.Directory) -> bool:
    """Whether the agent is known by this very key."""
    known = directory.agents.get(one.id)
    return known is not None and one.signing_key().key_id in {key.key_id for key in known.keys}


def _registration(one: profiles.Profile, directory: operator.Directory) -> events.AgentRegistered:
    known, key = directory.agents.get(one.id), one.signing_key()
    mine = events.AgentKey(key_id=key.key_id, public_key=key.public_text())
    before = () if known is None else known.keys
    return events.AgentRegistered(tenant=one.tenant, agent=one.agent, keys=(*before, mine))


def _grant(one: profiles.Profile, run: str, most_micros: int) -> events.CreditGranted:
    """Twice what its bids could cost, so that money refuses nobody."""
    return events.CreditGranted(
        grant_id=f"loadtest|{run}|{one.id}", tenant=one.tenant, agent=one.agent,
        amount_micros=2 * most_micros + money.MICROS_PER_CREDIT,
    )  # fmt: skip


def _load(path: pathlib.Path) -> dict[str, profiles.Profile]:
    if not path.exists():
        return {}
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=list[profiles.Profile])
    except msgspec.DecodeError as error:
        raise BadInput(f"{path}: {error}: remove it, and new keys are made") from error
    return {one.id: one for one in kept}


def _save(path: pathlib.Path, known: dict[str, profiles.Profile]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write(path, list(known.values()))


def write(path: pathlib.Path, people: list[profiles.Profile]) -> None:
    """Write profiles: all of them or nothing, and never readable by others."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(people))
    draft.replace(path)
