"""The two parties of a call over a `tests.support.link.Link`: who calls, and who answers.

`ScriptedCaller` is a user agent client that shares no code with ours but the parser. `Caller` and
`Answerer` are a `SipCore` with somebody who calls, or picks up or does not, and later hangs up.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

from ingress_sip.signalling.asking import Ask
from ingress_sip.signalling.core import SipCore
from ingress_sip.signalling.dialog import DialogId
from ingress_sip.signalling.events import (
    CallAnswered,
    Event,
    InviteReceived,
    ReferReceived,
    ReinviteReceived,
    ReofferDue,
)
from ingress_sip.signalling.fields import NameAddr
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.parse import parse_datagram
from ingress_sip.signalling.routing import Hop
from ingress_sip.signalling.session_timer import TimerPolicy
from ingress_sip.signalling.transaction import Outgoing
from ingress_sip.signalling.uri import SipUri

T1, T2, GIVE_UP = 0.5, 4.0, 32.0
SDP = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 0\r\n"
)


@dataclass(frozen=True)
class Plan:
    """What the people do, in seconds from the start; None: never."""

    answer: float | None = 1.0  # after the INVITE came; None: it rings until it expires
    refuse: bool = False  # instead of answering
    cancel: float | None = None
    reinvite: float | None = None  # after the 200
    caller_hangs_up: float = 120.0  # after the 200: callers never wait for ever
    callee_hangs_up: float = 500.0  # after it answered: it hears nobody any more
    callee_reinvites: float | None = None  # after it answered
    refer: float | None = None  # the caller transfers the callee, after the 200
    early: bool = False  # it plays before it answers, by a reliable 183
    session_s: int = 1800  # session timer


@dataclass
class _Asked:
    """A request of the caller's that waits for its final answer (RFC 3261 17.1)."""

    request: bytes
    method: str
    resend: float | None
    deadline: float
    pause: float = T1


class ScriptedCaller:
    """One call, from INVITE to its end. `story` holds what became of it, in order."""

    def __init__(self, here: Hop, there: Hop, plan: Plan) -> None:
        self._here, self._there, self._plan = here, there, plan
        self._outbox: list[Outgoing] = []
        self._asked: dict[int, _Asked] = {}  # by CSeq; a CANCEL shares its INVITE's, negative here
        self._cseq = 0
        self._to_tag = ""
        self._dates: list[tuple[float, str]] = []
        self._cancelled = False
        self.story: list[str] = []
        self._ask("INVITE", 0.0)
        if plan.cancel is not None:
            self._dates.append((plan.cancel, "cancel"))

    # The shell's side

    def messages_to_send(self) -> list[Outgoing]:
        sent, self._outbox = self._outbox, []
        return sent

    def next_timer(self) -> float | None:
        times = [when for when, _ in self._dates]
        for asked in self._asked.values():
            times += [asked.deadline] + ([] if asked.resend is None else [asked.resend])
        return min(times, default=None)

    def handle_timers(self, now: float) -> None:
        for date in [date for date in self._dates if date[0] <= now]:
            self._dates.remove(date)
            self._keep(date[1], now)
        for key, asked in list(self._asked.items()):
            if asked.deadline <= now:
                del self._asked[key]
                self._timed_out(asked.method)
            elif asked.resend is not None and asked.resend <= now:
                self._send(asked.request)
                asked.pause = (
                    asked.pause * 2 if asked.method == "INVITE" else min(asked.pause * 2, T2)
                )
                asked.resend = now + asked.pause

    def receive(self, data: bytes, source: Hop, now: float) -> None:
        message = parse_datagram(data)
        if isinstance(message, Request):
            self._answer(message)
        elif isinstance(message, Response):
            self._answered(message, now)

    # What happens

    def _keep(self, what: str, now: float) -> None:
        if what == "cancel" and 1 in self._asked and not self._cancelled:
            self._cancelled = True
            self._ask("CANCEL", now)
        elif what == "reinvite" and "ended" not in self.story:
            self._ask("INVITE", now)
        elif what == "hang up" and "ended" not in self.story:
            self._end()
            self._ask("BYE", now)

    def _timed_out(self, method: str) -> None:
        self.story.append(f"{method} timed out")
        self._end()

    def _end(self) -> None:
        if "ended" not in self.story:
            self.story.append("ended")

    def _answer(self, request: Request) -> None:
        """Whatever our side asks in the dialog is fine with the caller."""
        mirrored = [
            f"{name}: {value}"
            for name in ("Via", "From", "To", "Call-ID", "CSeq")
            for value in request.headers.get_all(name)
        ]
        self._send("\r\n".join(["SIP/2.0 200 OK", *mirrored, "", ""]).encode())
        if request.method == "BYE":
            self._end()

    def _answered(self, response: Response, now: float) -> None:
        number, method = response.cseq.number, response.cseq.method
        asked = self._asked.get(-number if method == "CANCEL" else number)
        if response.status < 200:
            if asked is not None and method == "INVITE":
                # 17.1.1.2: a provisional answer ends the resends. Proxies wait three minutes.
                asked.resend, asked.deadline = None, max(asked.deadline, 240.0)
            return
        if method == "INVITE":
            self._invite_answered(response, asked, now)
        if asked is not None:
            del self._asked[-number if method == "CANCEL" else number]

    def _invite_answered(self, response: Response, asked: _Asked | None, now: float) -> None:
        number = response.cseq.number
        if response.status >= 300:
            self._send(self._request("ACK", number, f"z9hG4bK{number}", response.to.tag or ""))
            if asked is not None and number == 1:
                self.story.append(f"refused {response.status}")
                self._end()
            return
        self._to_tag = response.to.tag or ""
        self._send(self._request("ACK", number, f"z9hG4bKack{number}", self._to_tag))
        if number > 1 or "answered" in self.story:
            return
        self.story.append("answered")
        if asked is None or self._cancelled:
            self._keep("hang up" if "ended" not in self.story else "", now)
            if asked is None:
                self._ask("BYE", now)  # 13.2.2.4: answered after all, when we had given up
            return
        self._dates.append((now + self._plan.caller_hangs_up, "hang up"))
        if self._plan.reinvite is not None:
            self._dates.append((now + self._plan.reinvite, "reinvite"))

    # What is sent

    def _ask(self, method: str, now: float) -> None:
        if method != "CANCEL":
            self._cseq += 1
        number = self._cseq if method != "CANCEL" else 1
        request = self._request(method, number, f"z9hG4bK{number}", self._to_tag)
        key = -number if method == "CANCEL" else number
        self._asked[key] = _Asked(request, method, now + T1, now + GIVE_UP)
        self._send(request)

    def _request(self, method: str, number: int, branch: str, to_tag: str) -> bytes:
        here = f"{self._here.host}:{self._here.port}"
        body = SDP if method == "INVITE" else b""
        head = [
            f"{method} sip:bot@{self._there.host}:{self._there.port} SIP/2.0",
            f"Via: SIP/2.0/UDP {here};branch={branch};rport",
            "Max-Forwards: 70",
            f"From: <sip:alice@{here}>;tag=alice",
            f"To: <sip:bot@{self._there.host}>" + (f";tag={to_tag}" if to_tag else ""),
            "Call-ID: call",
            f"CSeq: {number} {method}",
            f"Contact: <sip:alice@{here}>",
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        return "\r\n".join([*head, "", ""]).encode() + body

    def _send(self, data: bytes) -> None:
        self._outbox.append(Outgoing(data, self._there))


class Party:
    """Our core, and who uses it by a plan. `events` holds all that the core has told."""

    def __init__(self, here: Hop, plan: Plan) -> None:
        tokens = (f"{here.host}-{number}" for number in count())
        self.core = SipCore(
            contact_for=lambda peer: SipUri.of(here.host, here.port),
            tokens=tokens.__next__,
            user_agent="Trunkline",
            timers=TimerPolicy(expires=plan.session_s),
        )
        self.events: list[Event] = []
        self._plan = plan
        self._dates: list[tuple[float, str, DialogId]] = []

    # The shell's side

    def receive(self, data: bytes, source: Hop, now: float) -> None:
        self.core.receive(data, source, now)
        self._listen(now)

    def messages_to_send(self) -> list[Outgoing]:
        return self.core.messages_to_send()

    def next_timer(self) -> float | None:
        due = self.core.next_timer()
        times = [when for when, _, _ in self._dates] + ([] if due is None else [due])
        return min(times, default=None)

    def handle_timers(self, now: float) -> None:
        self.core.handle_timers(now)
        for date in [date for date in self._dates if date[0] <= now]:
            self._dates.remove(date)
            self._act(date[1], date[2], now)
        self._listen(now)

    # What happens

    def _listen(self, now: float) -> None:
        while (event := self.core.next_event()) is not None:
            self.events.append(event)
            self._hear(event, now)

    def _hear(self, event: Event, now: float) -> None:
        """What both sides do alike: take every change of a call."""
        if isinstance(event, ReinviteReceived):
            self.core.accept(event.dialog, SDP, now)
        elif isinstance(event, ReferReceived):
            self.core.answer_refer(event.dialog, 202, now)
            self._date(now + 1.0, "transferred", event.dialog)
        elif isinstance(event, ReofferDue):
            self.core.reoffer(event.dialog, SDP, now)

    def _date(self, when: float | None, what: str, dialog: DialogId) -> None:
        if when is not None:
            self._dates.append((when, what, dialog))

    def _act(self, what: str, dialog: DialogId, now: float) -> None:
        match what:
            case "hang up":
                self.core.hang_up(dialog, now)
            case "reinvite":
                self.core.reoffer(dialog, SDP, now)
            case "refer":
                self.core.refer(dialog, NameAddr(SipUri.of("203.0.113.9", user="carol")), now)
            case "transferred":
                self.core.notify(dialog, 200, "OK", now)


class Answerer(Party):
    """Who is called."""

    def _hear(self, event: Event, now: float) -> None:
        super()._hear(event, now)
        if isinstance(event, InviteReceived):
            self.core.ring(event.dialog, now, 183 if self._plan.early else 180, self._early)
            answer = self._plan.answer
            self._date(None if answer is None else now + answer, "answer", event.dialog)

    @property
    def _early(self) -> bytes:
        return SDP if self._plan.early else b""

    def _act(self, what: str, dialog: DialogId, now: float) -> None:
        if what != "answer":
            super()._act(what, dialog, now)
        elif self._plan.refuse:
            self.core.reject(dialog, 486, now)
        elif self.core.accept(dialog, SDP, now):
            self._date(now + self._plan.callee_hangs_up, "hang up", dialog)
            after = self._plan.callee_reinvites
            self._date(None if after is None else now + after, "reinvite", dialog)


class Caller(Party):
    """Who calls, once; patient for four minutes."""

    def __init__(self, here: Hop, there: Hop, plan: Plan) -> None:
        super().__init__(here, plan)
        ask = Ask(
            "INVITE",
            SipUri.of(there.host, there.port, "bot"),
            NameAddr(SipUri.of(there.host, user="bot")),
            NameAddr(SipUri.of(here.host, user="alice")),
            (there,),
            body=SDP,
        )
        dialog = self.core.call(ask, 0.0)
        self._date(min(plan.cancel or 240.0, 240.0), "cancel", dialog)

    def _hear(self, event: Event, now: float) -> None:
        super()._hear(event, now)
        if isinstance(event, CallAnswered):
            self._dates.clear()
            self._date(now + self._plan.caller_hangs_up, "hang up", event.dialog)
            for after, then in ((self._plan.reinvite, "reinvite"), (self._plan.refer, "refer")):
                self._date(None if after is None else now + after, then, event.dialog)

    def _act(self, what: str, dialog: DialogId, now: float) -> None:
        super()._act("hang up" if what == "cancel" else what, dialog, now)
