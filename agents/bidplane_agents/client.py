"""The client of an agent: bid, cancel, release, listen, hold a lease.

Decides how sending and listening fit together. Refuses to decide what to bid: that is a Bidder's.

    async with Client.from_environment() as client:
        async with client.lease(market="pool-a", shape="2", minutes=10, value="3.50") as lease:
            train(lease.devices, fence=lease.epoch)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from types import TracebackType
from typing import Final, Self

import msgspec

from bidplane_agents import (
    clock as clocks,
)
from bidplane_agents import (
    connection as connections,
)
from bidplane_agents import (
    durations,
    errors,
    inbox,
    log,
    market_rules,
    placing,
    profiles,
    renewing,
    session,
    verdicts,
)
from bidplane_agents import (
    lease as leases,
)
from bidplane_agents import (
    sequence as sequences,
)
from bidplane_agents.errors import BadInput, NoAnswer
from bidplane_topics import bids, codec, ids, money, registry
from bidplane_topics.outcomes import OutcomeReported
from bidplane_topics.rounds import RoundClosed
from bidplane_topics.telemetry import DeviceSampled

ANSWER_TIMEOUT_S: Final = 60.0


class Client:
    """One agent's connection, as an async context manager.

    ``listen=False`` saves a consumer for an agent that only speaks. ``sequence`` defaults to one in
    memory that starts at the wall clock; ``from_environment`` keeps it beside the profile.
    """

    def __init__(
        self, profile: profiles.Profile, connection: connections.Connection, *,
        sequence: sequences.Sequence | None = None, listen: bool = True,
        clock: clocks.Clock = clocks.now_ms,
    ) -> None:  # fmt: skip
        self.profile = profile
        self.connection = connection
        own = sequence or sequences.Sequence()
        self._session = session.Session(profile, connection, own, clock)
        self._inbox = inbox.Inbox(connection, profile.tenant, profile.agent) if listen else None
        self._places: dict[str, str] = {}

    @classmethod
    def from_environment(
        cls, agent: str = "", *, kafka: str = "", directory: str = "", listen: bool = True
    ) -> Self:
        """The agent and the Kafka that arguments, environment or files name.

        Raises:
            BadInput: nothing names them, or what is named cannot be used.
        """
        path = profiles.find(agent, directory)
        profile = profiles.load(path)
        connection = connections.from_environment(kafka, directory)
        return cls(profile, connection, sequence=sequences.beside(path), listen=listen)

    async def __aenter__(self) -> Self:
        """Connect; listen from this moment on.

        Raises:
            Unreachable: Kafka does not answer.
            BadInput: Kafka holds no bidplane topics.
        """
        await self._session.open()
        if self._inbox is not None:
            try:
                await self._inbox.start()
            except BaseException:
                await self._session.close()
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        """Disconnect. Leases go on: only ``lease`` blocks give back what they hold."""
        if self._inbox is not None:
            await self._inbox.stop()
        await self._session.close()

    # -- speaking ------------------------------------------------------------------------------

    async def submit(self, *commands: bids.Command) -> session.Sent:
        """Sign all ``commands`` as one record and wait for the broker's acknowledgement.

        Raises:
            BadInput: more than one record may carry.
            Unreachable: not acknowledged in ten seconds; it may still arrive.
        """
        sent = await self._session.submit(commands)
        if self._inbox is not None:
            for name in sent.command_ids:
                self._places[name] = sent.place()
        return sent

    async def bid(self, place: bids.Place) -> str:
        """Send a bid; its id. Raises as ``submit``."""
        return (await self.bid_all([place]))[0]

    async def bid_all(self, places: Iterable[bids.Place]) -> tuple[str, ...]:
        """Send up to 64 bids under one signature; their ids. Raises as ``submit``."""
        sent = await self.submit(*(bids.Command(place=place) for place in places))
        return sent.command_ids

    async def cancel(self, bid_id: str) -> str:
        """Ask to take an order out of the book; the command's id. Raises as ``submit``."""
        sent = await self.submit(bids.Command(cancel=bids.Cancel(bid_id=bid_id)))
        return sent.command_ids[0]

    async def renew(self, lease: leases.Lease, *, minutes: float | str, value: str) -> str:
        """Bid ``value`` credits for another term of a lease; the bid's id. Raises as ``submit``.

        It is decided in the last window before the lease's end: ``wait_for(bid, {"won"})``.
        """
        duration_ms = durations.minutes_ms("minutes", minutes)
        return await self.renew_for(lease, placing.micros(value), duration_ms)

    async def renew_for(self, lease: leases.Lease, value_micros: int, duration_ms: int) -> str:
        """``renew``, in micro-credits and milliseconds."""
        place = renewing.place(
            market=lease.market, lease_id=lease.lease_id, devices=lease.devices,
            value_micros=value_micros, duration_ms=duration_ms,
        )  # fmt: skip
        return await self.bid(place)

    async def release(self, lease_id: str) -> str:
        """Give a lease back before its end; the command's id. Raises as ``submit``."""
        sent = await self.submit(bids.Command(release=bids.Release(lease_id=lease_id)))
        return sent.command_ids[0]

    async def offer(
        self, lease_id: str, *, to: str, price: str, timeout_s: float = ANSWER_TIMEOUT_S
    ) -> str:
        """Offer a lease to the agent ``to`` for ``price`` credits; the offer's id, once it stands.

        Raises:
            BadInput: the client does not listen; ContractError: no agent, or no amount.
            CommandDeclined: the lease is not yours, or it is ending.
            NoAnswer: nobody judged in time; it may still be made. Else as ``submit``.
        """
        ids.split_agent(to)
        offer = bids.Offer(lease_id=lease_id, to=to, price_micros=money.parse_credits(price))
        self._listening()
        sent = await self.submit(bids.Command(offer=offer))
        name = sent.command_ids[0]
        more = (inbox.declined(lease_id),)
        return (await self._told(name, more, {"offered"}, timeout_s)).offer_id

    async def accept(self, offer_id: str) -> str:
        """Take an offer; the id under which `won` and `bound` are told. Raises as ``submit``.

        Its price is held now and paid when the lease is bound. An acceptance that comes too late is
        told as `declined`: ``wait_for(name, {"won"}, command_id=name)``.
        """
        sent = await self.submit(bids.Command(accept=bids.Accept(offer_id=offer_id)))
        return sent.command_ids[0]

    async def publish_telemetry(
        self, lease_id: str, *, node: str, device: str, busy_permille: int, memory_mib: int = 0,
        at_ms: int | None = None,
    ) -> None:  # fmt: skip
        """One reading of a leased device; not acknowledged, since a lost one harms nobody.

        Raises:
            BadInput: a figure is outside the contract.
        """
        raw = {
            "type": "device_sampled", "tenant": self.profile.tenant, "agent": self.profile.agent,
            "lease_id": lease_id, "node": node, "device": device, "busy_permille": busy_permille,
            "memory_mib": memory_mib, "at_ms": clocks.now_ms() if at_ms is None else at_ms,
        }  # fmt: skip
        try:
            sample = msgspec.convert(raw, DeviceSampled)
        except msgspec.ValidationError as error:
            raise BadInput(f"telemetry: {error}") from error
        await self._session.publish([sample])

    # -- listening -----------------------------------------------------------------------------

    def follow(self, *, from_beginning: bool = False) -> AsyncIterator[OutcomeReported]:
        """This agent's outcomes, each once: from now, or all that are kept and then on."""
        if self._inbox is not None and not from_beginning:
            return self._inbox.everything()
        tail = log.Tail(self.connection, registry.allocations(self.profile.tenant).name)
        return inbox.own_outcomes(tail, self.profile.agent)

    def about(self, name: str, *more: str) -> AsyncIterator[OutcomeReported]:
        """What was told of a bid, lease or command since the client started, and what will be.

        Raises:
            BadInput: the client does not listen.
        """
        names = (name, *more, *(self._places[one] for one in (name, *more) if one in self._places))
        return self._listening().about(*names)

    async def wait_for(
        self, name: str, kinds: Collection[str], timeout_s: float = ANSWER_TIMEOUT_S, *,
        command_id: str = "",
    ) -> OutcomeReported:  # fmt: skip
        """The first outcome of one of ``kinds`` about a bid or lease.

        With ``command_id`` (``cancel`` and ``release`` return it) a refusal of that command counts.

        Raises:
            Refusal: an outcome came after which none of ``kinds`` can.
            NoAnswer: none came in time.
        """
        more = (command_id, inbox.declined(name)) if command_id else ()
        return await self._told(name, more, kinds, timeout_s)

    async def _told(
        self, name: str, more: tuple[str, ...], kinds: Collection[str], timeout_s: float
    ) -> OutcomeReported:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._first(self.about(name, *more), kinds)
        except TimeoutError as error:
            wanted = " or ".join(sorted(kinds))
            raise NoAnswer(
                f"no outcome {wanted} for {name} in {timeout_s:g} s: is a worker running "
                "(`bidplane status`), and is this key registered (`bidplane agent list`)?"
            ) from error

    async def _first(
        self, told: AsyncIterator[OutcomeReported], kinds: Collection[str]
    ) -> OutcomeReported:
        async for outcome in told:
            if outcome.kind in kinds:
                return outcome
            if outcome.kind == "replayed":
                seen = outcome.evidence.get("last_sequence", 0)
                self._session.sequence.raise_to(int(seen))
            if (bad := verdicts.refusal(outcome, kinds)) is not None:
                raise bad
        raise AssertionError("threads have no end")

    async def rounds(self, market: str) -> AsyncIterator[RoundClosed]:
        """Clearings of ``market`` from now on: prices and volumes that everyone may know.

        Raises:
            BadInput: there is no such market.
        """
        known = await market_rules.ever_declared(self.connection)
        if market not in known:
            raise errors.no_market(market, known)
        tail = log.Tail(self.connection, registry.ROUNDS.name, known[market])
        await tail.from_now()
        async for record in tail.records():
            closed = codec.decode(registry.ROUNDS, record.value)
            if closed.market == market:
                yield closed

    def _listening(self) -> inbox.Inbox:
        if self._inbox is None:
            raise BadInput("this client was made with listen=False: it hears no outcomes")
        return self._inbox

    # -- holding -------------------------------------------------------------------------------

    def lease(
        self, *, market: str, shape: str, minutes: float | str, value: str,
        selector: Mapping[str, placing.Wanted] | None = None, rest_until_ms: int = 0,
        timeout_s: float = ANSWER_TIMEOUT_S, on_notice: leases.Notice | None = None,
    ) -> leases.Leasing:  # fmt: skip
        """``async with``: bid ``value`` credits, hold the devices, give them back at the end.

        Entering raises Refusal (with the outcome's reason) when refused, lost or voided, NoAnswer
        when ``timeout_s`` passes without a verdict.

        Raises:
            BadInput: a part of the bid cannot be used.
        """
        place = placing.rigid(
            market=market, shape=shape, minutes=minutes, value=value, selector=selector,
            rest_until_ms=rest_until_ms,
        )  # fmt: skip
        return self.lease_of(place, timeout_s=timeout_s, on_notice=on_notice)

    def preemptible(
        self, *, market: str, shape: str, minutes: float | str, value: str, until_ms: int = 0,
        spend: str = "", selector: Mapping[str, placing.Wanted] | None = None,
        timeout_s: float = ANSWER_TIMEOUT_S, on_notice: leases.Notice | None = None,
    ) -> leases.Leasing:  # fmt: skip
        """``lease``, for one term of ``minutes`` after the other, each worth ``value``.

        Each term that was won is yours to its end: that is the least time it runs. It goes on until
        ``until_ms``, or until the terms could cost more than ``spend`` credits, or until somebody
        bids more: then ``on_notice`` hears the outcome ``lost``, with reason and price.

        Raises:
            BadInput: a part of the bid cannot be used.
        """
        place = placing.rigid(
            market=market, shape=shape, minutes=minutes, value=value, selector=selector
        )
        terms = renewing.Terms(
            duration_ms=place.alternatives[0].duration_ms, value_micros=place.value_micros,
            until_ms=until_ms, spend_micros=money.parse_credits(spend) if spend else 0,
        )  # fmt: skip
        return leases.Leasing(
            self, place, win_timeout_s=timeout_s, on_notice=on_notice, terms=terms
        )

    def lease_of(
        self, place: bids.Place, *, timeout_s: float = ANSWER_TIMEOUT_S,
        on_notice: leases.Notice | None = None,
    ) -> leases.Leasing:  # fmt: skip
        """``lease`` for any Place, elastic ones too."""
        return leases.Leasing(self, place, win_timeout_s=timeout_s, on_notice=on_notice)
