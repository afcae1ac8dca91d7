"""Keeps all trunks alive, and knows which of them a call goes out by."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from bus.tasks import stop
from ingress_sip.signalling.digest import DigestClient
from ingress_sip.trunking.config import Trunk, Trunks
from ingress_sip.trunking.outbound import NoRouteError, Route, by_trunk, to_phone
from ingress_sip.trunking.policy import Policy
from ingress_sip.trunking.watch import Asking, Health, Means, Resolve, TrunkWatch

#: How long a drain waits until trunks have let go of us, s.
_LEAVE_S: Final = 2.0
#: The keeper looks at its trunks at least so often, s.
_IDLE_S: Final = 60.0


class TrunkKeeper:
    """Watches every trunk of the file."""

    def __init__(
        self,
        config: Trunks,
        policy: Policy,
        *,
        request: Asking,
        resolve: Resolve,
        clock: Callable[[], float],
        secret: Callable[[str], str | None],
        tokens: Callable[[], str],
        jitter: Callable[[], float],
    ) -> None:
        """`clock` is the core's, in s; `jitter()` is uniform in [0, 1).

        `request` and `resolve` are described where their types stand.
        """
        self._config = config
        self._policy = policy
        self._clock = clock
        self._woken = asyncio.Event()
        means = Means(
            request,
            resolve,
            clock,
            secret,
            tokens,
            jitter,
            resolved=policy.addresses.resolved,
            wake=self._woken.set,
        )
        self._watches = {trunk.name: TrunkWatch(trunk, means) for trunk in config.trunks}

    async def run(self) -> None:
        """Watch until cancelled."""
        try:
            while True:
                self._woken.clear()
                self.act()
                due = self.due()
                pause = _IDLE_S if due is None else min(_IDLE_S, max(0.0, due - self._clock()))
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._woken.wait()
        finally:
            await self.stop()

    def act(self) -> None:
        """Do what is due for every trunk; it starts tasks and never waits."""
        for watch in self._watches.values():
            watch.act()

    def due(self) -> float | None:
        """When `act` has something to do, as far as is known before what is under way ends."""
        times = (watch.due() for watch in self._watches.values())
        return min((each for each in times if each is not None), default=None)

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        while tasks := [task for watch in self._watches.values() for task in watch.tasks]:
            await asyncio.wait(tasks)

    def address_changed(self) -> None:
        """Our address has changed: every trunk is told."""
        for watch in self._watches.values():
            watch.moved()

    async def leave(self, patience_s: float = _LEAVE_S) -> None:
        """Unregister everywhere, as far as trunks answer in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await asyncio.gather(*(watch.leave() for watch in self._watches.values()))

    async def stop(self) -> None:
        """Give up whatever is under way."""
        await stop(*(task for watch in self._watches.values() for task in watch.tasks))

    def digest(self, trunk: Trunk) -> DigestClient | None:
        """What answers its challenges within a call that it began; None without an account."""
        return self._watches[trunk.name].digest()

    def health(self) -> tuple[Health, ...]:
        """What is known of each trunk, in the order of the file."""
        return tuple(watch.health() for watch in self._watches.values())

    async def routes(self, number: str, caller: str = "", trunk: str = "") -> tuple[Route, ...]:
        """The ways to a number, in the order to try them: a phone of ours, else the trunks.

        Args:
            number: A number, or the name of a user whose phones register here.
            caller: Who calls; empty for each trunk's default.
            trunk: Only by this one; then its `dial` is not asked.

        Trunks that are known to be down come last: they may be up by now. Those with no line left
        are left out.

        Raises:
            NoRouteError: there is none.
        """
        registrar, phones = self._policy.registrar, self._config.phones
        if registrar and phones and not trunk and any(u.name == number for u in phones.users):
            bindings = registrar.bindings(number, self._clock())
            if not bindings:
                raise NoRouteError(f"no phone of {number!r} is registered; start it")
            return tuple(to_phone(each, caller, phones.realm) for each in bindings)
        watches = self._candidates(number, trunk)
        free = [watch for watch in watches if not self._policy.lines.trunk_is_full(watch.trunk)]
        if not free:
            names = ", ".join(watch.trunk.name for watch in watches)
            raise NoRouteError(f"all lines of {names} are taken; see max_calls in the trunks' file")
        free.sort(key=lambda watch: not watch.health().is_usable)
        found = [(watch, hops) for watch in free if (hops := await watch.hops())]
        routes = [
            by_trunk(watch.trunk, number, caller, hops, watch.digest()) for watch, hops in found
        ]
        if not routes:
            why = "; ".join(f"{w.trunk.name}: {w.health().reason or 'no address'}" for w in free)
            raise NoRouteError(f"no trunk's name leads to an address: {why}")
        return tuple(routes)

    def _candidates(self, number: str, trunk: str) -> list[TrunkWatch]:
        if trunk:
            if trunk not in self._watches:
                known = ", ".join(self._watches) or "none"
                raise NoRouteError(f"no trunk is named {trunk!r}; there are: {known}")
            return [self._watches[trunk]]
        found = [watch for watch in self._watches.values() if watch.trunk.dials(number)]
        if not found:
            raise NoRouteError(f"no trunk dials {number!r}; see `dial` in the trunks' file")
        return found
