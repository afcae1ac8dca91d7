"""The SIP server: admits calls, routes what happens to them, and drains."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

import structlog

from bus.broker import BusError
from bus.pools import PoolWatch, Shortage
from bus.session import BusSession
from bus.tasks import stop
from calls.agent import Agent, Agents
from calls.ending import Ending
from calls.events import CallEnded, CallStarted
from calls.ids import CallId, new_call_id
from ingress_sip.admission import CODECS, Admission, RefusedError, caller_of, number_called, plain
from ingress_sip.call import SipCall
from ingress_sip.endpoint import SipEndpoint
from ingress_sip.sdp.codecs import PCMU
from ingress_sip.sdp.offer_answer import LocalMedia, Negotiated, answer, offer
from ingress_sip.sdp.session import SdpError
from ingress_sip.signalling import events as sip
from ingress_sip.signalling.dialog import DialogId
from ingress_sip.sockets.udp import Address, NoPortError, RtpPorts, RtpSocket
from legs.engine import MediaEngine
from media.frames import SAMPLE_RATE
from telemetry import metrics
from telemetry.log import bind_call

_log = structlog.get_logger(__name__)
#: A call whose caller sends nothing for this long, while it should, is dead. In ms.
_MEDIA_TIMEOUT_MS: Final = 60_000
_WATCH_S: Final = 5.0
#: How long a caller waits for the bus before the call is refused, s.
_OPEN_S: Final = 3.0
#: So many calls are let in at once; a rush must not hold up the frames of those that are here.
_AT_ONCE: Final = 16
#: How long a drain waits for the answers to its BYEs, s.
_BYE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class SipConfig:
    """Where the server listens, and how much it takes."""

    host: str
    port: int
    rtp_first: int
    rtp_last: int
    #: The address peers reach us at, where it is not the one we bind (NAT).
    public_address: str | None = None
    max_calls: int = 200
    #: A call is ended after so long, s.
    max_call_s: float = 3600.0
    #: How long a drain lets calls go on, s.
    drain_s: float = 30.0
    bus_patience_s: float = 10.0


class SipServer:
    """One listener with its calls."""

    def __init__(
        self,
        config: SipConfig,
        agents: Agents,
        session: BusSession,
        now_ms: Callable[[], float],
        pools: PoolWatch | None = None,
    ) -> None:
        """`pools` is asked before a call is let in; its clock is the event loop's."""
        self._config = config
        self._now_ms = now_ms
        self._pools = pools
        self._engine = MediaEngine(
            session,
            now_ms,
            give_up=self._give_up,
            patience_s=config.bus_patience_s,
            pools=pools,
        )
        self._ports = RtpPorts(config.host, config.rtp_first, config.rtp_last)
        self._admission = Admission(agents, self._shortage, asyncio.get_running_loop().time)
        self._endpoint = SipEndpoint(
            config.host,
            config.port,
            config.public_address,
            policy=self._admission,
            handle=self._happened,
        )
        self._calls: dict[DialogId, SipCall] = {}
        self._admitting: set[DialogId] = set()
        self._one_of_few = asyncio.Semaphore(_AT_ONCE)
        #: Set whenever a call is over, or was not taken.
        self._fewer = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def calls(self) -> int:
        """Calls being carried."""
        return len(self._calls)

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self._endpoint.address

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be bound.
        """
        await self._endpoint.start()
        await self._engine.start()
        self._spawn(self._watch())

    async def drain(self) -> None:
        """Take no new calls, let those there are go on for a while, then end them."""
        self._endpoint.refuse_new_calls()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._config.drain_s):
                while self._calls or self._admitting:
                    self._fewer.clear()
                    await self._fewer.wait()
        for call in list(self._calls.values()):
            self._end_call(call, Ending.SHUTDOWN)
        await self._endpoint.until_quiet(_BYE_S)

    async def stop(self) -> None:
        """Close everything; what happened in the calls is written first."""
        endings = [task for task in self._tasks if task.get_name().startswith("end ")]
        if endings:
            await asyncio.wait(endings, timeout=_BYE_S)
        await stop(*self._tasks)
        await self._engine.stop()
        self._endpoint.close()

    def _happened(self, event: sip.Event) -> None:
        if isinstance(event, sip.InviteReceived):
            self._admitting.add(event.dialog)
            self._spawn(self._invited(event))
            return
        if isinstance(event, sip.AskAnswered):
            return
        call = self._calls.get(event.dialog)
        if call is None:
            return
        match event:
            case sip.InviteCancelled():
                pass  # it is being opened: `accept` will say so, once the log has its first entry
            case sip.ByeReceived():
                self._finish(call, Ending.CALLER_HUNG_UP)
            case sip.AckTimedOut():
                self._finish(call, Ending.NO_ACK)
            case sip.AckReceived():
                self._acknowledged(call, event.body)
            case sip.ReinviteReceived():
                self._reinvited(call, event)
            case _:
                pass

    # -- admission

    async def _invited(self, event: sip.InviteReceived) -> None:
        try:
            async with self._one_of_few:
                await self._admit(event)
        except RefusedError as refusal:
            self._admission.refused(refusal, event.request)
            self._endpoint.reject(event.dialog, refusal.status, refusal.headers)
        except Exception:
            # Ours: it must leave no phone ringing and no port taken.
            metrics.ERRORS.labels("ingress", "admission").inc()
            _log.exception("sip.admission_failed", number=number_called(event.request))
            if (unfinished := self._calls.get(event.dialog)) is not None:
                self._end_call(unfinished, Ending.FAILED)
            else:
                self._endpoint.reject(event.dialog, 500)
        finally:
            self._admitting.discard(event.dialog)
            self._fewer.set()

    async def _admit(self, event: sip.InviteReceived) -> None:
        """Answer the call, unless its caller gives up meanwhile.

        Raises:
            RefusedError
        """
        agent = self._admission.agent_for(event.request)
        call: SipCall | None = None
        try:
            socket = await self._ports.open(
                lambda data, source: call.rtp_received(data, source) if call else None
            )
        except NoPortError as error:
            raise RefusedError(503, str(error), reason="ports", retry_after_s=10) from error
        try:
            call, body = self._negotiate(event, agent, socket)
        except BaseException:
            socket.close()
            raise
        await self._answer(call, body)

    def _shortage(self) -> Literal["lines"] | Shortage | None:
        """What one more call would lack."""
        if len(self._calls.keys() | self._admitting) >= self._config.max_calls:
            return "lines"
        if self._pools is None:
            return None
        seen_ms = self._pools.taken_at * 1000
        asked = {
            dialog
            for dialog, call in self._calls.items()
            if call.connected_ms is not None and call.connected_ms < seen_ms
        }
        return self._pools.shortage(len((self._calls.keys() | self._admitting) - asked))

    def _negotiate(
        self, event: sip.InviteReceived, agent: Agent, socket: RtpSocket
    ) -> tuple[SipCall, bytes]:
        """The call, and the body of our 200: the answer, or our offer where the INVITE has none."""
        local = LocalMedia(
            address=self._endpoint.address_towards(event.source),
            port=socket.port,
            session_id=secrets.randbits(31),
            version=1,
            codecs=CODECS,
        )
        media: Negotiated | None = answer(event.offer, local) if event.offer else None
        now = self._now_ms()
        started = CallStarted(
            at=now,
            call=new_call_id(now, secrets.token_hex(5)),
            agent=agent,
            carrier="sip",
            caller=caller_of(event.request),
            called=number_called(event.request),
            carrier_call=plain(event.request.call_id),
            codec=media.codec.name if media else PCMU.name,
            remote=str(event.source),
        )
        call = SipCall(
            event.dialog,
            started,
            local,
            signalling=event.source.host,
            now_ms=self._now_ms,
            clock_ms=_clock_ms,
            hang_up=lambda call: self._end_call(call, Ending.AGENT_HUNG_UP),
        )
        call.use(socket)
        if media is None:
            return call, offer(local).body
        call.negotiated(media)
        return call, media.body

    async def _answer(self, call: SipCall, body: bytes) -> None:
        self._calls[call.dialog] = call
        self._endpoint.ring(call.dialog)
        try:
            async with asyncio.timeout(_OPEN_S):
                await self._engine.open(call.started)
        except (BusError, OSError) as error:
            self._calls.pop(call.dialog, None)
            call.close()
            raise RefusedError(
                503, f"the bus is away: {error}", reason="bus", retry_after_s=5
            ) from error
        if not self._endpoint.accept(call.dialog, body):
            self._finish(call, Ending.CANCELLED)
            return
        call.answered = True
        _log.info("sip.answered", call=call.started.call, number=call.started.called)

    # -- what happens in a call

    def _acknowledged(self, call: SipCall, body: bytes) -> None:
        if body or not call.has_media:
            self._answered_late(call, body)
        if not call.over and call.connected_ms is None:
            call.connected_ms = _clock_ms()
            self._spawn(self._connect(call))

    async def _connect(self, call: SipCall) -> None:
        """The caller is there: media flows, and the pools get work.

        Not before the ACK: whoever sends INVITEs in others' names must not make us send their
        audio there, nor have an agent speak to nobody (RFC 8445 19.5.1, the voice hammer).
        """
        with bind_call(call.started.call):
            try:
                await self._engine.connect(call.leg)
            except (BusError, OSError) as error:
                _log.error("sip.no_bus", error=str(error))
                self._give_up(call.started.call, Ending.BUS_LOST)

    def _answered_late(self, call: SipCall, body: bytes) -> None:
        """The ACK brings the answer to the offer in our 200 (RFC 3261 13.2.1)."""
        try:
            call.negotiated(offer(call.local).accept(body))
        except SdpError as error:
            _log.warning("sip.bad_answer", call=call.started.call, error=str(error))
            self._end_call(call, Ending.FAILED)

    def _reinvited(self, call: SipCall, event: sip.ReinviteReceived) -> None:
        local = call.next_local()
        if not event.offer:
            self._endpoint.accept(call.dialog, offer(local).body)
            return
        try:
            media = answer(event.offer, local)
        except SdpError as error:
            self._endpoint.reject(call.dialog, error.status)
            return
        if self._endpoint.accept(call.dialog, media.body):
            call.negotiated(media)

    async def _watch(self) -> None:
        """End calls whose caller went away without a BYE, and those that last too long."""
        while True:
            await asyncio.sleep(_WATCH_S)
            oldest = _clock_ms() - _MEDIA_TIMEOUT_MS
            for call in list(self._calls.values()):
                if not call.answered:
                    continue
                if call.leg.position > self._config.max_call_s * SAMPLE_RATE:
                    self._end_call(call, Ending.TOO_LONG)
                elif not call.on_hold and call.heard_ms < oldest:
                    self._end_call(call, Ending.MEDIA_TIMEOUT)

    def _give_up(self, call_id: CallId, why: Ending) -> None:
        for call in list(self._calls.values()):
            if call.started.call == call_id:
                self._end_call(call, why)

    def _end_call(self, call: SipCall, why: Ending) -> None:
        """Our side ends the call: by a BYE, or by a refusal where it was not answered yet."""
        if call.answered:
            self._endpoint.hang_up(call.dialog)
        else:
            self._endpoint.reject(call.dialog, 503)
        self._finish(call, why)

    def _finish(self, call: SipCall, why: Ending) -> None:
        """The call is over; its last entries are written by a task of their own."""
        if call.over:
            return
        call.over = True
        self._calls.pop(call.dialog, None)
        self._fewer.set()
        self._spawn(self._end(call, why), name=f"end {call.started.call}")

    async def _end(self, call: SipCall, why: Ending) -> None:
        with bind_call(call.started.call):
            seconds = round(call.leg.position / SAMPLE_RATE, 1)
            _log.info("sip.ended", why=why.value, seconds=seconds)
            ended = CallEnded(at=self._now_ms(), why=why, position=call.leg.position)
            quality = call.quality()
            call.close()
            await self._engine.end(call.started, *([quality] if quality else []), ended=ended)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str | None = None) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            metrics.ERRORS.labels("ingress", type(error).__name__).inc()
            _log.error("sip.task_failed", task=task.get_name(), exc_info=error)


def _clock_ms() -> float:
    """A clock that does not jump, ms: for what is timed, not for what is told."""
    return asyncio.get_running_loop().time() * 1000
