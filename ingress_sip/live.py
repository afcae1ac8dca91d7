"""The calls that an ingress carries, found by dialog or by id, and how each of them ends."""

from __future__ import annotations

from typing import Final

import structlog

from bus.broker import BusError
from calls.ending import Ending
from calls.events import CallAnswered
from calls.ids import CallId
from ingress_sip.call import SipCall
from ingress_sip.endpoint import SipEndpoint
from ingress_sip.signalling.dialog import DialogId
from ingress_sip.trunking.lines import Line, Lines
from legs.engine import MediaEngine
from legs.live import Calls
from telemetry.log import bind_call

_log = structlog.get_logger(__name__)
#: How long a DTLS handshake may take, s.
_SECURED_S: Final = 10.0


class LiveCalls(Calls[SipCall]):
    """Every call from the moment that it has a log until its last entry is written."""

    def __init__(self, endpoint: SipEndpoint, engine: MediaEngine, lines: Lines) -> None:
        super().__init__(engine)
        self._endpoint = endpoint
        self._lines = lines
        self._by_dialog: dict[DialogId, SipCall] = {}

    def of(self, dialog: DialogId) -> SipCall | None:
        """The call that a dialog belongs to."""
        return self._by_dialog.get(dialog)

    def move(self, call: SipCall, dialog: DialogId) -> DialogId:
        """The call goes on in another dialog. Returns the old one."""
        before = call.dialog
        self._by_dialog.pop(before, None)
        call.dialog = dialog
        self._by_dialog[dialog] = call
        return before

    def hand_over(self, call: SipCall, dialog: DialogId, line: Line | None) -> DialogId:
        """Somebody else is the caller now, on a line that is taken already. Returns the old dialog.

        Whoever was the caller so far may still be there: the old dialog is to be ended.
        """
        self._free_line(call)
        call.line = line
        return self.move(call, dialog)

    def connect(self, call: SipCall) -> None:
        """The other side is there: media flows, and the pools get work."""
        if not call.over and call.connected_ms is None:
            call.connected_ms = call.clock_ms()
            if not call.stream.is_shaking:
                # Now, for it may be over before its task runs; the log takes it once.
                self.tell(call, CallAnswered(at=call.now_ms()))
            self.spawn(self._connect(call))

    async def _connect(self, call: SipCall) -> None:
        with bind_call(call.started.call):
            is_secured = await call.stream.secured(_SECURED_S)
            if call.over:
                return
            if not is_secured:
                _log.warning("sip.not_secured", patience_s=_SECURED_S)
                self.end(call, Ending.FAILED)
                return
            try:
                await self._engine.connect(call.leg)
            except (BusError, OSError) as error:
                _log.error("sip.no_bus", error=str(error))
                self.end(call, Ending.BUS_LOST)

    def give_up(self, call_id: CallId, why: Ending) -> None:
        """The engine cannot go on with a call."""
        if (call := self.named(call_id)) is not None:
            self.end(call, why)

    def end(self, call: SipCall, why: Ending) -> None:
        """Our side ends the call: by a BYE, or by a refusal or CANCEL where it has no answer."""
        if call.answered:
            self._endpoint.hang_up(call.dialog)
        elif call.withdraw is not None:
            call.withdraw()
        elif call.started.direction == "inbound":
            self._endpoint.reject(call.dialog, 503)
        self.finish(call, why)

    def _enter(self, call: SipCall) -> None:
        super()._enter(call)
        self._by_dialog[call.dialog] = call

    def _leave(self, call: SipCall) -> None:
        self._by_dialog.pop(call.dialog, None)
        self._free_line(call)
        super()._leave(call)

    def _free_line(self, call: SipCall) -> None:
        if call.line is not None:
            self._lines.free(call.line)
            call.line = None
