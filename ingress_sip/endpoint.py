"""The shell around the SIP core: one UDP socket, one timer, and the core's events handed on."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress

import structlog

from ingress_sip.signalling.core import Policy, SipCore
from ingress_sip.signalling.dialog import DialogId
from ingress_sip.signalling.events import Event
from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.signalling.uri import SipUri
from ingress_sip.sockets.udp import Address, local_address_towards, open_udp

_log = structlog.get_logger(__name__)


class SipEndpoint:
    """A SIP user agent on a socket. Whatever is asked of it is sent at once.

    `handle(event)` is called on the event loop with each event of the core; what it asks of the
    endpoint is sent when it returns. `policy` is the core's.
    """

    def __init__(
        self,
        host: str,
        port: int,
        public_address: str | None,
        *,
        policy: Policy,
        handle: Callable[[Event], None],
    ) -> None:
        self.address: Address = (host, port)
        self._public_address = public_address
        self._handle = handle
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.DatagramTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pumping = False
        #: Set whenever an event came.
        self._stirred = asyncio.Event()
        self._core = SipCore(
            contact_for=lambda hop: SipUri.of(self.address_towards(hop), self.address[1]),
            tokens=lambda: secrets.token_hex(8),
            user_agent="Trunkline",
            policy=policy,
        )

    async def start(self) -> None:
        """Listen; `address` is then the one that was bound.

        Raises:
            OSError: the address cannot be bound.
        """
        self._transport = await open_udp(*self.address, self._received)
        self.address = self._transport.get_extra_info("sockname")[:2]

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.close()

    def address_towards(self, peer: Hop) -> str:
        """The address by which that peer reaches us: the public one, if there is one."""
        return self._public_address or local_address_towards(
            (peer.host, peer.port), self.address[0]
        )

    # Actions: see SipCore. False: it is over, an event has said or will say so.

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

    def refuse_new_calls(self) -> None:
        """New calls get 503 from now on; those that are here go on."""
        self._core.draining = True

    async def until_quiet(self, patience_s: float) -> None:
        """Wait until no dialog is left, or patience runs out."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while self._core.live_dialogs:
                    self._stirred.clear()
                    await self._stirred.wait()

    def _received(self, datagram: bytes, source: Address) -> None:
        try:
            self._core.receive(datagram, Hop(Transport.UDP, *source), self._loop.time())
        finally:  # our own mistake about one peer keeps no other waiting
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
                    self._handle(event)
                except Exception:
                    # One call's mistake must not silence the others.
                    _log.exception("sip.handler_failed", kind=type(event).__name__)
        finally:
            self._pumping = False
        for out in self._core.messages_to_send():
            self._send(out.data, out.destination)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (due := self._core.next_timer()) is not None:
            self._timer = self._loop.call_at(due, self._timer_fired)

    def _send(self, datagram: bytes, destination: Hop) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        try:
            self._transport.sendto(datagram, (destination.host, destination.port))
        except (ValueError, OSError) as error:  # a Contact of another address family, or no port
            _log.info("sip.unreachable", destination=str(destination), error=str(error))
