"""The shell around the SIP core: its sockets, one timer, and the core's events handed on."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from ingress_sip.limits import SourceLimits
from ingress_sip.signalling.asking import Ask
from ingress_sip.signalling.clients import Authorizer
from ingress_sip.signalling.core import RFC_TIMERS, Policy, SipCore
from ingress_sip.signalling.dialog import DialogId
from ingress_sip.signalling.events import AskAnswered, Event
from ingress_sip.signalling.fields import NameAddr
from ingress_sip.signalling.message import Response
from ingress_sip.signalling.parameters import Parameters
from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.signalling.session_timer import TimerPolicy
from ingress_sip.signalling.uri import SipUri
from ingress_sip.sockets.transports import Listen, TlsFiles, Transports
from telemetry import metrics

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """Where the endpoint listens, and as whom it speaks."""

    listen: tuple[Listen, ...]
    #: The address peers reach us at, where it is not the one we bind (NAT).
    public_address: str | None = None
    tls: TlsFiles | None = None
    timers: TimerPolicy = RFC_TIMERS
    #: Names of ours in URIs, besides our addresses.
    domains: frozenset[str] = frozenset()


class SipEndpoint:
    """A SIP user agent on its sockets. Whatever is asked of it is sent at once.

    `handle(event)` is called on the event loop with each event of the core; what it asks of the
    endpoint is sent when it returns. `policy` is the core's; `limits` say whom to listen to;
    `bound(hop)` whether a phone is registered by a connection.
    """

    def __init__(
        self,
        config: EndpointConfig,
        *,
        policy: Policy,
        limits: SourceLimits,
        handle: Callable[[Event], None],
        bound: Callable[[Hop], bool] = lambda _: False,
    ) -> None:
        self._config = config
        self._limits = limits
        self._policy = policy
        self._handle = handle
        self._bound = bound
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._pumping = False
        #: Set whenever an event came.
        self._stirred = asyncio.Event()
        self._asked: dict[int, asyncio.Future[Response]] = {}
        self._transports = Transports(
            config.listen,
            receive=self._received,
            failed=self._failed,
            closed=self._failed,
            in_use=self._in_use,
            tls=config.tls,
        )
        self._core = SipCore(
            contact_for=self._contact,
            tokens=lambda: secrets.token_hex(8),
            user_agent="Trunkline",
            policy=policy,
            timers=config.timers,
        )

    async def start(self) -> None:
        """Listen; `listening` then says where.

        Raises:
            OSError: an address cannot be bound; says which.
        """
        await self._transports.start()

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for waiting in self._asked.values():
            waiting.cancel()
        await self._transports.close()

    @property
    def listening(self) -> tuple[Listen, ...]:
        """Where it listens, ports as bound."""
        return self._transports.listening

    def address_towards(self, hop: Hop) -> str:
        """The address by which that peer reaches us: the public one, if there is one."""
        return self._config.public_address or self._transports.local(hop)[0]

    def is_ours(self, uri: SipUri) -> bool:
        """Does the URI name us: our address and port, or a domain of ours?"""
        host, port = uri.address
        if host.lower() in self._config.domains:
            return True
        hosts = {self._config.public_address, *(each.host for each in self.listening)}
        return host in hosts and port in {each.port for each in self.listening}

    def _contact(self, hop: Hop) -> SipUri:
        host, port = self._transports.local(hop)
        uri = SipUri.of(self._config.public_address or host, port)
        if hop.transport is Transport.UDP:
            return uri
        transport = Parameters((("transport", hop.transport.value),))
        return SipUri(uri.scheme, uri.userinfo, uri.host, uri.port, transport)

    # Calls: see SipCore. False: it is over, an event has said or will say so.

    def call(self, ask: Ask) -> DialogId:
        dialog = self._core.call(ask, self._loop.time())
        self._pump()
        return dialog

    def ring(self, dialog: DialogId) -> bool:
        return self._then_pump(self._core.ring(dialog, self._loop.time()))

    def accept(self, dialog: DialogId, sdp: bytes) -> bool:
        return self._then_pump(self._core.accept(dialog, sdp, self._loop.time()))

    def reject(
        self, dialog: DialogId, status: int, headers: Iterable[tuple[str, str]] = ()
    ) -> bool:
        return self._then_pump(
            self._core.reject(dialog, status, self._loop.time(), headers=headers)
        )

    def hang_up(self, dialog: DialogId) -> bool:
        return self._then_pump(self._core.hang_up(dialog, self._loop.time()))

    def reoffer(self, dialog: DialogId, sdp: bytes) -> bool:
        return self._then_pump(self._core.reoffer(dialog, sdp, self._loop.time()))

    def refer(self, dialog: DialogId, target: NameAddr) -> bool:
        return self._then_pump(self._core.refer(dialog, target, self._loop.time()))

    def answer_refer(self, dialog: DialogId, status: int) -> bool:
        return self._then_pump(self._core.answer_refer(dialog, status, self._loop.time()))

    def notify(self, dialog: DialogId, status: int, reason: str) -> bool:
        return self._then_pump(self._core.notify(dialog, status, reason, self._loop.time()))

    def use_credentials(self, dialog: DialogId, digest: Authorizer) -> None:
        self._core.use_credentials(dialog, digest)

    def replaces_header(self, dialog: DialogId) -> str | None:
        return self._core.replaces_header(dialog)

    def target_of(self, dialog: DialogId) -> SipUri | None:
        return self._core.target_of(dialog)

    def peer_of(self, dialog: DialogId) -> NameAddr | None:
        return self._core.peer_of(dialog)

    def refuse_new_calls(self) -> None:
        """New calls get 503 from now on; those that are here go on."""
        self._core.draining = True

    # Outside of calls

    async def request(self, ask: Ask) -> Response:
        """Ask, and wait for the final response: 408 where nobody answers, 503 where nobody is."""
        number = self._core.ask(ask, self._loop.time())
        waiting: asyncio.Future[Response] = self._loop.create_future()
        self._asked[number] = waiting
        try:
            self._pump()
            return await waiting
        finally:
            self._asked.pop(number, None)

    async def until_quiet(self, patience_s: float) -> None:
        """Wait until no dialog is left, or patience runs out."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while self._core.live_dialogs:
                    self._stirred.clear()
                    await self._stirred.wait()

    # In and out

    def _received(self, message: bytes, source: Hop) -> None:
        now = self._loop.time()
        if not (self._limits.admits(source.host, now) or self._policy.trusts(source, None)):
            metrics.SIP_DROPPED.labels("rate").inc()
            return
        try:
            self._core.receive(message, source, now)
        finally:  # our own mistake about one peer keeps no other waiting
            self._pump()

    def _in_use(self, hop: Hop) -> bool:
        return self._core.uses(hop.flow) or self._bound(hop)

    def _failed(self, hop: Hop) -> None:
        try:
            self._core.transport_failed(hop, self._loop.time())
        finally:
            self._pump()

    def _timer_fired(self) -> None:
        self._timer = None
        try:
            self._core.handle_timers(self._loop.time())
        finally:
            self._pump()

    def _then_pump(self, done: bool) -> bool:
        self._pump()
        return done

    def _pump(self) -> None:
        """Hand on what the core says, send what it wants sent, and set its timer."""
        if self._pumping:
            return  # a handler acts: the loop below goes on when it returns
        self._pumping = True
        try:
            while (event := self._core.next_event()) is not None:
                self._stirred.set()
                try:
                    self._hand_on(event)
                except Exception:
                    # One call's mistake must not silence the others.
                    metrics.ERRORS.labels("ingress", "event").inc()
                    _log.exception("sip.handler_failed", kind=type(event).__name__)
        finally:
            self._pumping = False
        for out in self._core.messages_to_send():
            self._transports.send(out.data, out.destination)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (due := self._core.next_timer()) is not None:
            self._timer = self._loop.call_at(due, self._timer_fired)

    def _hand_on(self, event: Event) -> None:
        if isinstance(event, AskAnswered):
            waiting = self._asked.pop(event.number, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(event.response)
            return
        self._handle(event)
