"""A lease as a block of code: bid, wait until the devices are bound, give them back at the end.

Decides when a lease counts as held. Refuses to know what another term is worth: renewing.py does.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final

from bidplane_agents import renewing
from bidplane_agents.errors import NoAnswer, Refusal
from bidplane_topics import bids, ids
from bidplane_topics.leases import LeasedDevice
from bidplane_topics.outcomes import OutcomeReported

if TYPE_CHECKING:
    from bidplane_agents.client import Client

Notice = Callable[[OutcomeReported], Awaitable[None] | None]

BOUND_TIMEOUT_S: Final = 120.0
GIVE_UP_TIMEOUT_S: Final = 5.0
_OVER: Final = frozenset({"ending", "ended", "voided", "transferred"})


class Lease:
    """Held devices. Send ``epoch`` with every write that must not happen after the lease ends."""

    def __init__(self, won: OutcomeReported, bound: OutcomeReported) -> None:
        self.bid_id = won.bid_id
        self.lease_id = bound.lease_id or won.lease_id
        self.market = won.market
        self.market_pool = won.market_pool
        self.level = won.level
        self.price_micros = won.price_micros
        self.epoch: int = bound.epoch
        self.devices: tuple[LeasedDevice, ...] = bound.devices or won.devices
        self.ends_at_ms: int = bound.ends_at_ms
        self.noticed: OutcomeReported | None = None
        self.over: OutcomeReported | None = None
        self._told, self._ended = asyncio.Event(), asyncio.Event()

    @property
    def live(self) -> bool:
        """Whether the holder's epoch still counts, as far as it was told."""
        return self.over is None

    async def notice(self) -> OutcomeReported:
        """Wait for the notice that the lease will end: grace has begun, or no further term was won.

        Without either, wait for the end.
        """
        await self._told.wait()
        found = self.noticed or self.over
        assert found is not None
        return found

    async def ended(self) -> OutcomeReported:
        """Wait until the market takes the devices back."""
        await self._ended.wait()
        assert self.over is not None
        return self.over

    def hear(self, outcome: OutcomeReported) -> None:
        """Take note of an outcome about this lease."""
        if outcome.kind == "won" and outcome.bid_id != self.bid_id:  # one term more
            self.ends_at_ms, self.price_micros = outcome.ends_at_ms, outcome.price_micros
        elif outcome.kind == "notice":
            self.unrenewed(outcome)
        elif outcome.kind in _OVER and self.over is None:
            self.over = outcome
            self._told.set()
            self._ended.set()

    def unrenewed(self, outcome: OutcomeReported) -> None:
        """Take note that the lease will end: the first word of it counts."""
        if self.noticed is None:
            self.noticed = outcome
            self._told.set()


class Leasing:
    """``async with``: bids on entry, releases on exit; see Client.lease."""

    def __init__(
        self, client: Client, place: bids.Place, *, win_timeout_s: float,
        on_notice: Notice | None, terms: renewing.Terms | None = None,
    ) -> None:  # fmt: skip
        self._client, self._place, self._terms = client, place, terms
        self._win_timeout_s, self._on_notice = win_timeout_s, on_notice
        self._lease: Lease | None = None
        self._bid_id = ""
        self._watch: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Lease:
        """Bid and wait.

        Raises:
            Refusal: refused, lost or voided; carries the outcome.
            NoAnswer: the market or the sink stayed silent; the bid was cancelled.
            Unreachable: Kafka does not answer.
        """
        try:
            lease = self._lease = await self._win()
        except Refusal:
            raise
        except BaseException:
            await asyncio.shield(self._give_up())
            raise
        self._watch = asyncio.create_task(self._listen(lease), name=f"lease {lease.lease_id}")
        if self._terms is not None:
            keeper = renewing.quietly(self._client, lease, self._terms, lease.unrenewed)
            self._keeper = asyncio.create_task(keeper, name=f"renewals of {lease.lease_id}")
        return lease

    async def _win(self) -> Lease:
        self._bid_id = await self._client.bid(self._place)
        won = await self._client.wait_for(self._bid_id, {"won"}, self._win_timeout_s)
        bound = await self._client.wait_for(self._bid_id, {"bound"}, BOUND_TIMEOUT_S)
        return Lease(won, bound)

    async def _give_up(self) -> None:
        """Nobody will hold what may still be won: take it out of the book, or give it back."""
        if not self._bid_id:
            return
        lease_id = ids.lease_id(self._place.market, self._bid_id)
        with contextlib.suppress(Exception):
            async with asyncio.timeout(GIVE_UP_TIMEOUT_S):
                await self._client.submit(
                    bids.Command(cancel=bids.Cancel(bid_id=self._bid_id)),
                    bids.Command(release=bids.Release(lease_id=lease_id)),
                )

    async def _listen(self, lease: Lease) -> None:
        telling = asyncio.create_task(self._tell(lease), name=f"notice of {lease.lease_id}")
        try:
            async for outcome in self._client.about(lease.bid_id):
                lease.hear(outcome)
                if lease.over is not None:
                    await telling
                    return
        finally:
            telling.cancel()

    async def _tell(self, lease: Lease) -> None:
        """Call ``on_notice`` once, when it is known that the lease will end."""
        await lease.notice()
        if self._on_notice is None or lease.noticed is None:
            return
        called = self._on_notice(lease.noticed)
        if inspect.isawaitable(called):
            await called

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        """Release what is still held. A failure to say so never hides the block's own error."""
        lease, watch = self._lease, self._watch
        assert lease is not None
        assert watch is not None
        for task in (watch, self._keeper):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        if not lease.live:
            return
        try:
            await asyncio.shield(self._client.release(lease.lease_id))
        except NoAnswer:
            if error is None:
                raise
