"""The web ingress: admits calls that carriers bring as media streams, carries them, and drains."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

import structlog

from bus.broker import BusError
from bus.log import Ownership
from bus.pools import PoolWatch, Shortage
from bus.session import BusSession
from bus.tasks import stop
from calls.agent import Agent, Agents
from calls.ending import Ending
from calls.events import CallAnswered, CallStarted
from calls.ids import CallId, new_call_id
from ingress_web.call import Doer, WebCall
from ingress_web.dialects.messages import (
    Audio,
    Dialect,
    KeyPressed,
    MarkReached,
    Message,
    Started,
    Trouble,
)
from ingress_web.door import Offer
from ingress_web.stream import Connection
from legs.engine import MediaEngine
from legs.live import Calls
from media.frames import SAMPLE_RATE
from telemetry import metrics
from telemetry.log import bind_call

_log = structlog.get_logger(__name__)
_WATCH_S: Final = 0.5
#: A call whose carrier sends nothing for this long, while it is connected, is dead. In ms.
_MEDIA_TIMEOUT_MS: Final = 60_000
#: A stream that has brought no audio for so long may be replaced by a new one. In ms.
_STALLED_MS: Final = 1_000
#: How long a drain waits for the connections that it ends, s.
_BYE_S: Final = 2.0
#: So long may the bus take to note a call's beginning, s.
_OPEN_S: Final = 5.0

Lack = Literal["lines", "draining"] | Shortage


class RefusedError(Exception):
    """A call is not taken: why in words, and in one word for the metrics."""

    def __init__(self, why: str, *, reason: str) -> None:
        super().__init__(why)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class WebConfig:
    """How much the server takes."""

    max_calls: int = 200
    #: A call is ended after so long, s.
    max_call_s: float = 3600.0
    #: How long a drain lets calls go on, s.
    drain_s: float = 30.0
    bus_patience_s: float = 10.0
    #: How long a call outlives its connection, s: so long its carrier may take to come back.
    reconnect_s: float = 10.0


class WebServer:
    """An ingress: its calls, and what becomes of them. It knows no HTTP."""

    def __init__(
        self,
        config: WebConfig,
        agents: Agents,
        session: BusSession,
        *,
        now_ms: Callable[[], float],
        pools: PoolWatch | None = None,
    ) -> None:
        """`now_ms` is the wall clock, Unix epoch. `doer` must be set before a call comes."""
        self._config = config
        self._agents = agents
        self._pools = pools
        self.now_ms = now_ms
        self._engine = MediaEngine(
            session,
            now_ms,
            give_up=self._give_up,
            patience_s=config.bus_patience_s,
            pools=pools,
        )
        self.live: Calls[WebCall] = Calls(self._engine)
        #: Does what agents want done.
        self.doer: Doer | None = None
        #: By carrier and its id of the call.
        self._known: dict[tuple[str, str], WebCall] = {}
        self._draining = False
        self.live.told.append(self._forget)

    @property
    def calls(self) -> int:
        """Calls being carried."""
        return len(self.live)

    async def start(self) -> None:
        await self._engine.start()
        self.live.spawn(self._watch(), name="watch")

    async def drain(self) -> None:
        """Take no new calls, let those there are go on for a while, then end them."""
        self._draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(self._config.drain_s):
                while len(self.live):
                    self.live.fewer.clear()
                    await self.live.fewer.wait()
        for call in self.live:
            self.end(call, Ending.SHUTDOWN)
        await self.live.written(_BYE_S)

    async def stop(self) -> None:
        """Close everything; what happened in the calls is written first."""
        await self.live.written(_BYE_S)
        await stop(*self.live.tasks)
        await self._engine.stop()

    # Calls

    def of(self, carrier: str, call: str) -> WebCall | None:
        """The call that a carrier names so."""
        return self._known.get((carrier, call))

    def lack(self) -> Lack | None:
        """What one more call would lack; None when it can be carried."""
        if self._draining:
            return "draining"
        if len(self.live) >= self._config.max_calls:
            return "lines"
        if self._pools is None:
            return None
        seen_ms = self._pools.taken_at * 1000
        coming = sum(
            call.connected_ms is None or call.connected_ms >= seen_ms for call in self.live
        )
        return self._pools.shortage(coming)

    def agent_for(self, offer: Offer) -> Agent:
        """The agent that answers the number called. Raises RefusedError: nobody does."""
        agent = self._agents.for_number(offer.number)
        if agent is None:
            raise RefusedError(f"no agent answers {offer.number!r}", reason="no_agent")
        return agent

    async def connect(
        self, offer: Offer, started: Started, dialect: Dialect, connection: Connection, remote: str
    ) -> WebCall:
        """A stream begins: of a new call, or of one that had lost its connection.

        Raises:
            RefusedError: it is not taken; close the connection.
        """
        call, is_new = self.of(offer.carrier, offer.call), False
        if call is None:
            call, is_new = self._new(self._started(offer, started.codec, remote)), True
        elif call.stream.is_open:
            if call.is_heard(_clock_ms(), _STALLED_MS):
                raise RefusedError(f"{offer.call} has a stream already", reason="second_stream")
            self.put_aside(call)  # its connection is dead, and nobody has told us yet
        # At once: another connection that says the same is the second one from now on.
        call.stream.attach(connection, dialect, started.decoder, started.codec)
        call.detached_ms = None
        if is_new:
            await self._open(call)
        if call.over:
            raise RefusedError("it was over before it began", reason="over")
        if call.connected_ms is None:
            call.connected_ms = call.clock_ms()
            self.live.tell(call, CallAnswered(at=call.now_ms()))
            self.live.spawn(self._connect(call))
        else:
            _log.info("stream.resumed", call=call.started.call)
        return call

    def _started(self, offer: Offer, codec: str, remote: str) -> CallStarted:
        """The first entry of a call's log. Raises RefusedError: it is not to be one."""
        agent = self.agent_for(offer)
        if (lack := self.lack()) is not None:
            raise RefusedError(f"no room: {lack}", reason=lack)
        now = self.now_ms()
        return CallStarted(
            at=now,
            call=new_call_id(now, secrets.token_hex(5)),
            agent=agent,
            carrier=offer.carrier,
            caller=offer.caller,
            called=offer.called,
            carrier_call=offer.call,
            codec=codec,
            remote=offer.remote or remote,
            variables=dict(offer.parameters),
        )

    async def _open(self, call: WebCall) -> None:
        """Begin a call's log. Raises RefusedError."""
        try:
            async with asyncio.timeout(_OPEN_S):
                await self.live.open(call)
        except (BusError, OSError) as error:
            self._forget(call)
            raise RefusedError(f"the bus is away: {error}", reason="bus") from error
        started = call.started
        _log.info(
            "call.answered", call=started.call, carrier=started.carrier, number=started.called
        )

    async def open_outbound(self, started: CallStarted, owner: Ownership) -> WebCall:
        """Begin the log of a call that we place. Its stream comes when it is answered.

        Raises:
            BusError, OSError, SupersededError: as Calls.open.
        """
        call = self._new(started)
        try:
            await self.live.open(call, owner)
        except BaseException:
            self._forget(call)
            raise
        return call

    def rename(self, call: WebCall, carrier_call: str) -> None:
        """The carrier has told its id of a call that we place."""
        self._forget(call)
        call.carrier_call = carrier_call
        self._known[call.started.carrier, carrier_call] = call

    def _new(self, started: CallStarted) -> WebCall:
        assert self.doer is not None
        call = WebCall(started, now_ms=self.now_ms, clock_ms=_clock_ms, doer=self.doer)
        self._known[started.carrier, started.carrier_call] = call
        return call

    async def _connect(self, call: WebCall) -> None:
        with bind_call(call.started.call):
            try:
                await self._engine.connect(call.leg)
            except (BusError, OSError) as error:
                _log.error("stream.no_bus", error=str(error))
                self.end(call, Ending.BUS_LOST)

    def received(self, call: WebCall, message: Message) -> None:
        """What the stream says, once it has begun. Its end is told by `disconnected`."""
        match message:
            case Audio():
                call.stream.audio(message)
            case MarkReached(name):
                call.stream.mark(name)
            case KeyPressed(digit):
                call.stream.key(digit)
            case Trouble(what):
                _log.warning("stream.trouble", call=call.started.call, what=what)
            case _:
                pass

    def disconnected(self, call: WebCall, connection: Connection, *, stopped: bool) -> None:
        """The connection is gone; `stopped`: the carrier said that the stream is over."""
        if call.over or call.stream.connection is not connection:
            return
        call.stream.detach()
        call.detached_ms = call.clock_ms()
        if call.is_away:
            return
        if stopped:
            self.live.finish(call, Ending.CALLER_HUNG_UP)
        else:
            _log.warning("stream.lost", call=call.started.call, patience_s=self._config.reconnect_s)

    def put_aside(self, call: WebCall) -> None:
        """The call's connection is of no use any more, whatever it seems: close it, and wait."""
        if (connection := call.stream.connection) is not None:
            call.stream.detach()
            call.detached_ms = call.clock_ms()
            connection.close()

    def end(self, call: WebCall, why: Ending) -> None:
        """Our side ends the call: the carrier hangs up when its stream ends."""
        self.live.finish(call, why)

    def _give_up(self, call_id: CallId, why: Ending) -> None:
        if (call := self.live.named(call_id)) is not None:
            self.end(call, why)

    def _forget(self, call: WebCall) -> None:
        self._known.pop((call.started.carrier, call.carrier_call), None)

    async def _watch(self) -> None:
        """End calls whose connection or audio is gone, and those that last too long."""
        while True:
            await asyncio.sleep(_WATCH_S)
            now = _clock_ms()
            for call in self.live:
                if call.connected_ms is None:
                    continue
                heard_ms = call.stream.heard_ms or call.connected_ms
                if call.leg.position > self._config.max_call_s * SAMPLE_RATE:
                    self.end(call, Ending.TOO_LONG)
                elif call.is_away:
                    continue
                elif call.detached_ms is not None:
                    if now - call.detached_ms > self._config.reconnect_s * 1000:
                        self.end(call, Ending.MEDIA_TIMEOUT)
                elif now - heard_ms > _MEDIA_TIMEOUT_MS:
                    self.end(call, Ending.MEDIA_TIMEOUT)


def refused(refusal: RefusedError, carrier: str) -> None:
    """Count a call that was not taken."""
    metrics.CALLS.labels(carrier, Ending.REFUSED.value).inc()
    metrics.CALLS_REFUSED.labels(refusal.reason).inc()


def _clock_ms() -> float:
    """A clock that does not jump, ms: for what is timed, not for what is told."""
    return asyncio.get_running_loop().time() * 1000
