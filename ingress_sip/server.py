"""The SIP server: admits calls, routes what happens to them, and drains."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from bus.jobs import PlaceCall
from bus.log import Ownership
from bus.pools import PoolWatch
from bus.session import BusSession
from bus.tasks import stop
from bus.trunk_state import Lines as BusLines
from calls.agent import Agents
from calls.ending import Ending
from calls.ids import CallId, ReplyId
from calls.transfer import TransferMode
from ingress_sip.admission import (
    SHORTAGES,
    Admission,
    Lack,
)
from ingress_sip.call import SipCall
from ingress_sip.endpoint import EndpointConfig, SipEndpoint
from ingress_sip.holding import Holding
from ingress_sip.inbound import Inbound
from ingress_sip.limits import SourceLimits, unlimited
from ingress_sip.live import LiveCalls
from ingress_sip.media_setup import MediaConfig, MediaSetup
from ingress_sip.outbound import Outbound
from ingress_sip.placing import Placing
from ingress_sip.referred import Referrals
from ingress_sip.sdp.session import SdpError
from ingress_sip.signalling import events as sip
from ingress_sip.signalling.dtmf_info import key_in
from ingress_sip.signalling.routing import Hop
from ingress_sip.signalling.uri import SipUri
from ingress_sip.sockets.transports import Listen
from ingress_sip.sockets.udp import RtpPorts
from ingress_sip.transfer import Transfers
from ingress_sip.trunk_lines import lines_of
from ingress_sip.trunking.config import OPEN, Trunks
from ingress_sip.trunking.keeper import TrunkKeeper
from ingress_sip.trunking.policy import Policy
from legs.engine import MediaEngine
from media.frames import SAMPLE_RATE

_log = structlog.get_logger(__name__)
#: A call whose caller sends nothing for this long, while it should, is dead. In ms.
_MEDIA_TIMEOUT_MS: Final = 60_000
_WATCH_S: Final = 5.0
#: How long a drain waits for the answers to its BYEs, s.
_BYE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class SipConfig:
    """Where the server listens, and how much it takes."""

    endpoint: EndpointConfig
    rtp_host: str
    rtp_first: int
    rtp_last: int
    media: MediaConfig = field(default_factory=MediaConfig)
    trunks: Trunks = OPEN
    limits: SourceLimits = field(default_factory=unlimited)
    max_calls: int = 200
    #: A call is ended after so long, s.
    max_call_s: float = 3600.0
    #: How long a drain lets calls go on, s.
    drain_s: float = 30.0
    bus_patience_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the server is given of the world outside."""

    session: BusSession
    #: The wall clock: Unix epoch, ms.
    now_ms: Callable[[], float]
    #: The password that an environment variable holds.
    secret: Callable[[str], str | None]
    resolve: Callable[[SipUri], Awaitable[Sequence[Hop]]]
    #: Asked before a call is let in; its clock is the event loop's.
    pools: PoolWatch | None = None


class SipServer:
    """An ingress: its listeners, its calls, its trunks."""

    def __init__(self, config: SipConfig, agents: Agents, around: Surroundings) -> None:
        self._config = config
        self._pools = around.pools
        self._now_ms = around.now_ms
        loop = asyncio.get_running_loop()
        phones = config.trunks.phones
        self._engine = MediaEngine(
            around.session,
            around.now_ms,
            give_up=self._give_up,
            patience_s=config.bus_patience_s,
            pools=around.pools,
        )
        self._policy = Policy(config.trunks, around.secret, _token)
        self._limits = config.limits
        self._admission = Admission(
            agents,
            self._policy,
            self._limits,
            media=config.media,
            shortage=self._shortage,
            clock_s=loop.time,
        )
        self._endpoint = SipEndpoint(
            config.endpoint,
            policy=self._admission,
            limits=self._limits,
            handle=self._happened,
            bound=self._is_bound,
        )
        self.keeper = TrunkKeeper(
            config.trunks,
            self._policy,
            request=self._endpoint.request,
            resolve=around.resolve,
            clock=loop.time,
            secret=around.secret,
            tokens=_token,
            jitter=secrets.SystemRandom().random,
        )
        self._live = LiveCalls(self._endpoint, self._engine, self._policy.lines)
        self._placing = Placing(
            self._endpoint,
            self._policy.lines,
            self.keeper.routes,
            around.resolve,
            frozenset(user.name for user in phones.users) if phones else frozenset(),
        )
        ports = RtpPorts(config.rtp_host, config.rtp_first, config.rtp_last)
        self._setup = MediaSetup(
            config.media, ports, self._endpoint, now_ms=around.now_ms, clock_ms=_clock_ms
        )
        self._holding = Holding(self._endpoint, self._live)
        self._transfers = Transfers(
            self._endpoint, self._live, self._placing, self._setup, self._holding
        )
        self._referrals = Referrals(
            self._endpoint, self._live, self._placing, self._setup, config.trunks.policy.refer
        )
        self._outbound = Outbound(
            agents,
            self._placing,
            self._live,
            setup=self._setup,
            shortage=self._lack,
            doer=self,
        )
        self._inbound = Inbound(
            self._endpoint,
            self._admission,
            self._live,
            lines=self._policy.lines,
            setup=self._setup,
            referrals=self._referrals,
            digest=self.keeper.digest,
            doer=self,
        )

    @property
    def calls(self) -> int:
        """Calls being carried."""
        return len(self._live)

    @property
    def listening(self) -> tuple[Listen, ...]:
        """Where it listens."""
        return self._endpoint.listening

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: an address cannot be bound.
        """
        await self._endpoint.start()
        await self._engine.start()
        self._live.spawn(self._watch(), name="watch")
        self._live.spawn(self.keeper.run(), name="trunks")

    def lines(self) -> BusLines:
        """What there is to say of trunks and phones."""
        now = asyncio.get_running_loop().time()
        return lines_of(self._config.trunks, self.keeper, self._policy, now, self._now_ms())

    async def drain(self) -> None:
        """Take no new calls, let those there are go on for a while, then end them."""
        self._endpoint.refuse_new_calls()
        leaving = asyncio.create_task(self.keeper.leave(), name="leave trunks")
        with suppress(TimeoutError):
            async with asyncio.timeout(self._config.drain_s):
                while len(self._live) or self._inbound.admitting:
                    self._live.fewer.clear()
                    await self._live.fewer.wait()
        for dialog in tuple(self._inbound.admitting):
            self._endpoint.reject(dialog, 503)
        for call in self._live:
            self._live.end(call, Ending.SHUTDOWN)
        self._transfers.leave()
        self._referrals.leave()
        await self._endpoint.until_quiet(_BYE_S)
        await leaving

    async def stop(self) -> None:
        """Close everything; what happened in the calls is written first."""
        await self._live.written(_BYE_S)
        await stop(*self._live.tasks)
        await self._engine.stop()
        await self._endpoint.close()

    def remember(self, bindings: Sequence[Mapping[str, Any]], age_s: float) -> None:
        """Take up the phones' bindings that an ingress before us had, `age_s` ago.

        Raises:
            ValueError: these are none.
        """
        if self._policy.registrar is not None:
            now = asyncio.get_running_loop().time()
            self._policy.registrar.restore(bindings, now, age_s)

    def bindings(self) -> Sequence[Mapping[str, Any]]:
        """The phones' bindings, for an ingress after us."""
        if self._policy.registrar is None:
            return ()
        return self._policy.registrar.snapshot(asyncio.get_running_loop().time())

    def _is_bound(self, hop: Hop) -> bool:
        registrar = self._policy.registrar
        if registrar is None:
            return False
        now = asyncio.get_running_loop().time()
        return any(each.hop.flow == hop.flow for each in registrar.all_bindings(now))

    async def place(self, job: PlaceCall, owner: Ownership) -> None:
        """Call somebody (bus.dialling.Place)."""
        await self._outbound.place(job, owner)

    def cancel(self, call: CallId) -> None:
        """Hang up a call that somebody had placed."""
        self._outbound.cancel(call)

    def _give_up(self, call: CallId, why: Ending) -> None:
        self._live.give_up(call, why)

    # What agents want done (ingress_sip.call.Doer)

    def hang_up(self, call: SipCall) -> None:
        self._live.end(call, Ending.AGENT_HUNG_UP)

    def transfer(self, call: SipCall, reply: ReplyId, target: str, mode: TransferMode) -> None:
        self._transfers.begin(call, reply, target, mode)

    # What happens

    def _happened(self, event: sip.Event) -> None:
        if isinstance(event, sip.InviteReceived):
            self._inbound.received(event)
            return
        for room in (self._placing, self._holding, self._transfers):
            if room.happened(event):
                return
        if isinstance(event, sip.AskAnswered):
            return
        call = self._live.of(event.dialog)
        if call is not None:
            self._happened_in(call, event)
        elif isinstance(event, sip.ReinviteReceived):
            self._endpoint.reject(event.dialog, 488)  # in a call that we only hand over
        elif isinstance(event, sip.ReferReceived):
            self._endpoint.answer_refer(event.dialog, 603)

    def _happened_in(self, call: SipCall, event: sip.Event) -> None:
        match event:
            case sip.InviteCancelled():
                self._live.finish(call, Ending.CANCELLED)
            case sip.ByeReceived():
                if not self._referrals.caller_left(call):
                    self._live.finish(call, self._transfers.caller_left(call))
            case sip.SessionLost():
                self._live.finish(call, Ending.MEDIA_TIMEOUT)
            case sip.AckTimedOut():
                self._live.finish(call, Ending.NO_ACK)
            case sip.AckReceived():
                self._acknowledged(call, event)
            case sip.ReinviteReceived():
                self._reinvited(call, event)
            case sip.InfoReceived():
                call.keys_told(key_in(event.content_type, event.body))
            case sip.ReferReceived():
                self._referrals.asked(call, event)
            case _:
                pass

    # What changes in a call

    def _acknowledged(self, call: SipCall, event: sip.AckReceived) -> None:
        """The caller knows that we answered.

        Nothing is sent before: whoever sends INVITEs in others' names must not make us send their
        audio there, nor have an agent speak to nobody (RFC 8445 19.5.1, the voice hammer). An ACK
        that proves nothing could be theirs as well: then the caller's own audio comes first.
        """
        if call.pending is not None:
            # The ACK brings the answer to the offer in our 200 (RFC 3261 13.2.1).
            try:
                call.accepted(event.body)
            except SdpError as error:
                _log.warning("sip.bad_answer", call=call.started.call, error=str(error))
                if call.agreed is None:
                    self._live.end(call, Ending.FAILED)
                    return
        if event.is_proven:
            self._live.connect(call)
        else:
            call.stream.once_heard(lambda: self._live.connect(call))

    def _reinvited(self, call: SipCall, event: sip.ReinviteReceived) -> None:
        call.refused()  # an offer of ours that waits to be made again is made of what comes now
        if not event.offer:
            if not self._endpoint.accept(call.dialog, call.offer()):
                call.refused()
            return
        try:
            media = call.answer(event.offer)
        except SdpError as error:
            self._endpoint.reject(call.dialog, error.status)
            return
        if self._endpoint.accept(call.dialog, media.body):
            call.agree(media)

    # How much there is

    def _shortage(self) -> Lack | None:
        """What one more call would lack."""
        dialogs = {call.dialog for call in self._live} | self._inbound.admitting
        if len(dialogs) >= self._config.max_calls:
            return "lines"
        if self._pools is None:
            return None
        seen_ms = self._pools.taken_at * 1000
        asked = {
            call.dialog
            for call in self._live
            if call.connected_ms is not None and call.connected_ms < seen_ms
        }
        return self._pools.shortage(len(dialogs - asked))

    def _lack(self) -> str | None:
        short = self._shortage()
        return None if short is None else SHORTAGES[short]

    async def _watch(self) -> None:
        """End calls whose caller went away without a BYE, and those that last too long."""
        while True:
            await asyncio.sleep(_WATCH_S)
            oldest = _clock_ms() - _MEDIA_TIMEOUT_MS
            for call in self._live:
                if not call.answered:
                    continue
                if call.leg.position > self._config.max_call_s * SAMPLE_RATE:
                    self._live.end(call, Ending.TOO_LONG)
                elif not call.on_hold and call.heard_ms < oldest:
                    self._live.end(call, Ending.MEDIA_TIMEOUT)


def _token() -> str:
    return secrets.token_hex(8)


def _clock_ms() -> float:
    """A clock that does not jump, ms: for what is timed, not for what is told."""
    return asyncio.get_running_loop().time() * 1000
