"""One trunk's life: is it there, are we registered at it, and which of its addresses answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import structlog

from ingress_sip.signalling.asking import Ask
from ingress_sip.signalling.digest import Credentials, DigestClient
from ingress_sip.signalling.fields import NameAddr
from ingress_sip.signalling.message import Response
from ingress_sip.signalling.registration import Input, Register, Registration, State
from ingress_sip.signalling.routing import Hop
from ingress_sip.signalling.uri import SipUri
from ingress_sip.trunking.config import Account, Trunk
from telemetry import metrics

_log = structlog.get_logger(__name__)
#: Names are looked up so often where OPTIONS does not ask for it more often, s.
_LOOK_S: Final = 60.0
#: So many addresses of a trunk are watched.
_MAX_HOPS: Final = 8
#: Nobody is there: no answer, or nothing could be sent. A trunk's own 503 takes no calls either.
_UNREACHABLE: Final = frozenset({408, 503})

#: Sends a question and awaits its final response; 408 and 503 where none comes. It never raises.
Asking = Callable[[Ask], Awaitable[Response]]
#: The addresses of a URI, in the order to try them. It raises when there are none.
Resolve = Callable[[SipUri], Awaitable[Sequence[Hop]]]


@dataclass(frozen=True, slots=True)
class Means:
    """What trunks live by; the same for all of a process. `clock` is in s; `jitter` in [0, 1)."""

    request: Asking
    resolve: Resolve
    clock: Callable[[], float]
    secret: Callable[[str], str | None]
    tokens: Callable[[], str]
    jitter: Callable[[], float]
    #: A trunk's name leads to these hosts now.
    resolved: Callable[[str, Sequence[str]], None]
    #: Something under way has ended: there may be more to do, or sooner.
    wake: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of a trunk. `status` and `reason` are of its last response that told it.

    `since` is when `registered` or `reachable` last changed, `expires_at` when the registration
    ends; s, on the keeper's clock.
    """

    name: str
    registered: Literal["off", "no", "yes", "failed"]
    reachable: Literal["unknown", "yes", "no"]
    status: int | None
    reason: str
    since: float
    expires_at: float | None
    #: Where our requests come from, as the registrar sees it.
    seen_as: tuple[str, int] | None = None

    @property
    def has_trouble(self) -> bool:
        """Has somebody to look at it?"""
        return self.reachable == "no" or self.registered == "failed"

    @property
    def is_usable(self) -> bool:
        """May it take a call, as far as is known?"""
        return self.reachable != "no" and self.registered in ("off", "yes")


class TrunkWatch:
    """Watches one trunk. `act` does what is due; it starts tasks and never waits."""

    def __init__(self, trunk: Trunk, means: Means) -> None:
        self.trunk = trunk
        self._means = means
        self._hops: tuple[Hop, ...] = ()
        self._dead: frozenset[Hop] = frozenset()
        self._asked = False  # some address has answered, or failed to
        self._unresolved = ""
        self._leaving = False
        self._next_look: float | None = means.clock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._digest = self._digest_of(trunk.registration)
        self._call_id = means.tokens()
        self._bound_at: Hop | None = None
        self._registration: Registration | None = None
        if (ours := trunk.registration) is not None:
            self._registration = Registration(
                self._registrar(), ours.user, ours.expires_s, means.jitter
            )
        self._pinged: tuple[int | None, str] = (None, "")  # the status and reason
        self._health = self._look_at_health(means.clock())
        self._show()

    def digest(self) -> DigestClient | None:
        """One that answers this trunk's challenges to a call; None without an account."""
        return self._digest_of(self.trunk.account)

    def health(self) -> Health:
        """What is known now."""
        self._note()
        return self._health

    def due(self) -> float | None:
        """When `act` has something to do."""
        times = (self._next_look, self._registration.due if self._registration else None)
        return min((each for each in times if each is not None), default=None)

    def act(self) -> None:
        """Do what is due."""
        now = self._means.clock()
        if self._next_look is not None and now >= self._next_look:
            self._next_look = None  # set again when it is done: no two at once
            self._spawn(self._look())
        if self._registration and (due := self._registration.due) is not None and now >= due:
            self._step(Input.DUE)
        self._note()

    def moved(self) -> None:
        """Our address has changed: register anew."""
        self._step(Input.MOVED)

    async def leave(self) -> None:
        """Unregister, and wait for the answer. What is under way is waited for first."""
        self._leaving = True
        self._next_look = None
        self._step(Input.DRAIN)
        while self._registration and self._registration.state is not State.LEFT and self._tasks:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        self._note()

    @property
    def tasks(self) -> frozenset[asyncio.Task[None]]:
        """What is under way."""
        return frozenset(self._tasks)

    async def hops(self) -> tuple[Hop, ...]:
        """Where it is called, those that answer first; empty when its name leads nowhere."""
        if not self._hops:
            await self._resolve()
        return self._in_order(self._hops)

    # -- is it there?

    async def _look(self) -> None:
        try:
            await self._resolve()
            if self._registration:
                self._step(Input.START)  # only the first time: then it goes by its own timers
            if self.trunk.options_s and self._hops:
                await self._ping()
            elif self.trunk.options_s:
                self._answered(self._dead, 503, self._unresolved)
        finally:
            if not self._leaving:
                self._next_look = self._means.clock() + (self.trunk.options_s or _LOOK_S)
            self._note()

    async def _resolve(self) -> None:
        try:
            hops = tuple(await self._means.resolve(self.trunk.target))[:_MAX_HOPS]
        except Exception as error:  # whatever a name service does, we go by what we had
            if str(error) != self._unresolved:
                _log.warning("trunk.unresolved", trunk=self.trunk.name, why=str(error))
            self._unresolved = str(error)
            return
        self._unresolved = ""
        self._hops = hops
        self._dead &= frozenset(hops)
        self._means.resolved(self.trunk.name, [hop.host for hop in hops])

    async def _ping(self) -> None:
        hops = self._hops
        answers = await asyncio.gather(*(self._ask(self._options(hop)) for hop in hops))
        dead = {hop for hop, each in zip(hops, answers, strict=True) if each.status in _UNREACHABLE}
        best = min(answers, key=lambda each: each.status in _UNREACHABLE)
        self._answered(frozenset(dead), best.status, best.reason)
        if self._bound_at in dead and len(dead) < len(hops):
            self.moved()  # nobody calls us through an address that is dead: bind to another

    def _answered(self, dead: frozenset[Hop], status: int, reason: str) -> None:
        self._asked = True
        self._dead = dead
        self._pinged = (status, reason)

    def _in_order(self, hops: tuple[Hop, ...]) -> tuple[Hop, ...]:
        return tuple(sorted(hops, key=lambda hop: hop in self._dead))

    def _options(self, hop: Hop) -> Ask:
        target = self.trunk.target
        ours = self._us(self.trunk.caller, self.trunk.from_domain)
        # A challenge is as good a sign of life as any: without a digest.
        return Ask("OPTIONS", target, NameAddr(target), ours, (hop,))

    # -- are we registered?

    def _step(self, happened: Input) -> None:
        if self._registration is None:
            return
        register = self._registration.step(happened, self._means.clock())
        if register is not None:
            self._spawn(self._register(self._registration, register))

    async def _register(self, registration: Registration, register: Register | None) -> None:
        while register is not None:
            response = await self._send(register)
            register = registration.step(response, self._means.clock())
            if not self.trunk.options_s:
                self._asked = True
                unreachable = response.status in _UNREACHABLE
                self._dead = frozenset(self._hops) if unreachable else frozenset()
            self._note()

    async def _send(self, register: Register) -> Response:
        if register.uri == self._registrar():
            await self._resolve()
            hops = self._in_order(self._hops)
        else:  # it was redirected
            try:
                hops = tuple(await self._means.resolve(register.uri))[:_MAX_HOPS]
            except Exception as error:
                self._unresolved, hops = str(error), ()
        if not hops:
            return Response(503, self._unresolved or "No Address")
        self._bound_at = hops[0]
        ours = self.trunk.registration
        assert ours is not None
        address = self._us(ours.user, ours.domain)
        ask = Ask(
            "REGISTER",
            register.uri,
            address,
            address,
            hops,
            call_id=self._call_id,
            cseq=register.cseq,
            headers=(("Expires", str(register.expires_s)),),
            digest=self._digest,
        )
        return await self._ask(ask)

    def _registrar(self) -> SipUri:
        """10.2: the Request-URI is the domain, without a user."""
        ours, target = self.trunk.registration, self.trunk.target
        if ours is None or ours.domain is None:
            return target
        return SipUri(target.scheme, None, ours.domain, None, target.params)

    # -- both

    def _us(self, user: str, domain: str | None) -> NameAddr:
        target = self.trunk.target
        uri = SipUri.of(domain or target.host, user=user)
        return NameAddr(replace(uri, scheme=target.scheme))

    async def _ask(self, ask: Ask) -> Response:
        try:
            return await self._means.request(ask)
        except Exception:
            # Ours: it must not end the watch over the trunk.
            metrics.ERRORS.labels("ingress", "trunk").inc()
            _log.exception("trunk.ask_failed", trunk=self.trunk.name, method=ask.method)
            return Response(503, "Our Mistake")

    def _digest_of(self, account: Account | None) -> DigestClient | None:
        password = self._means.secret(account.password_env) if account else None
        if account is None or password is None:
            return None
        return DigestClient(Credentials(account.digest_user, password), self._means.tokens)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=f"trunk {self.trunk.name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            metrics.ERRORS.labels("ingress", "trunk").inc()
            _log.error("trunk.watch_failed", trunk=self.trunk.name, exc_info=error)
        self._means.wake()

    def _note(self) -> None:
        """Take note of a change, and tell of it."""
        now = self._means.clock()
        before, after = self._health, self._look_at_health(now)
        changed = (before.registered, before.reachable) != (after.registered, after.reachable)
        self._health = after if changed else replace(after, since=before.since)
        if not changed:
            return
        self._show()
        tell = _log.warning if after.has_trouble else _log.info
        tell(
            "trunk.changed", trunk=after.name, registered=after.registered,
            reachable=after.reachable, status=after.status, reason=after.reason,
        )  # fmt: skip

    def _show(self) -> None:
        health = self._health
        metrics.TRUNK_REACHABLE.labels(health.name).set(health.reachable == "yes")
        if health.registered != "off":
            metrics.TRUNK_REGISTERED.labels(health.name).set(health.registered == "yes")

    def _look_at_health(self, now: float) -> Health:
        registration = self._registration
        status, reason = self._pinged
        if registration and (registration.has_failed or status is None):
            status, reason = registration.status, registration.reason
        return Health(
            self.trunk.name,
            _registered(registration, now),
            self._reachable(),
            status,
            self._unresolved or reason,
            now,
            registration.expires_at if registration else None,
            registration.seen_as if registration else None,
        )

    def _reachable(self) -> Literal["unknown", "yes", "no"]:
        if not self._asked:
            return "unknown"
        return "yes" if set(self._hops) - self._dead else "no"


def _registered(
    registration: Registration | None, now: float
) -> Literal["off", "no", "yes", "failed"]:
    if registration is None:
        return "off"
    if registration.is_registered(now):
        return "yes"
    return "failed" if registration.has_failed else "no"
