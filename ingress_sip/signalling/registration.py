"""One registration of ours at a registrar: RFC 3261 10.2, with the pauses of RFC 5626 4.5.

                IDLE
                 | start: send REGISTER
                 v     423, 3xx: send it again, as the registrar wants it
            REGISTERING <-----------------------------.
         2xx /   |   \\ anything else                 | refresh is due, moved: send REGISTER
            v    |    v                               | pause is over, moved: send REGISTER
     REGISTERED  |  WAITING --------------------------|
        |   |    |                                    |
        |   `----|------------------------------------'
        |        | moved: OUTDATED, drain: CLOSING (10.2: not before the last one is answered)
        | drain  v
        `--> LEAVING: send REGISTER with Expires 0 --> LEFT

Challenges and the fail-over between addresses are the asker's: what comes here is the one final
response, 408 and 503 where none came. All times are seconds on one monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto
from itertools import islice
from typing import ClassVar, Final, NamedTuple

from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.fields import NameAddr
from ingress_sip.signalling.grammar import parse_digits
from ingress_sip.signalling.message import Response
from ingress_sip.signalling.uri import SipUri

#: RFC 5626 4.5: the pause after n failures is min(MAX, BASE * 2**n), less up to a half of it.
BASE_S: Final = 30.0
MAX_S: Final = 1800.0
#: A refresh that gets no answer (timer F) is to be noticed before the binding ends.
_MARGIN_S: Final = 32.0
_SOONEST_S: Final = 5.0  # until a refresh, however short the binding
_LONGEST_S: Final = 86_400  # that a registrar may have us ask for, or grant
_DETOURS: Final = 3  # 423 and 3xx in a row
_MAX_CONTACTS: Final = 64  # of one response


class State(Enum):
    IDLE = auto()
    REGISTERING = auto()
    OUTDATED = auto()  # a REGISTER is out, and what it says no longer holds
    REGISTERED = auto()
    WAITING = auto()  # after a failure; the last binding may still hold
    CLOSING = auto()  # a REGISTER is out, and we want to leave
    LEAVING = auto()
    LEFT = auto()


class Input(Enum):
    """What happens to a registration."""

    START = auto()
    DUE = auto()  # what `due` named has come
    MOVED = auto()  # our address has changed
    DRAIN = auto()  # we go
    GRANTED = auto()  # 2xx
    TOO_BRIEF = auto()  # 423
    REDIRECTED = auto()  # 3xx
    FAILED = auto()  # the rest


class Action(Enum):
    REGISTER = auto()  # send one
    UNREGISTER = auto()  # send one with Expires 0
    REFRESH = auto()  # wait until the binding has to be refreshed
    RETRY = auto()  # pause, longer with each failure in a row


class Register(NamedTuple):
    """A REGISTER to send: to whom, the `n`th of its Call-ID, for how long (0: remove)."""

    uri: SipUri
    cseq: int
    expires_s: int


Table = Mapping[tuple[State, Input], tuple[State, Action | None]]

_ANSWERS = (Input.GRANTED, Input.TOO_BRIEF, Input.REDIRECTED, Input.FAILED)


class Registration:
    """Keeps one address of record bound to us."""

    table: ClassVar[Table] = {
        (State.IDLE, Input.START): (State.REGISTERING, Action.REGISTER),
        (State.IDLE, Input.DRAIN): (State.LEFT, None),
        (State.REGISTERING, Input.GRANTED): (State.REGISTERED, Action.REFRESH),
        (State.REGISTERING, Input.TOO_BRIEF): (State.REGISTERING, Action.REGISTER),
        (State.REGISTERING, Input.REDIRECTED): (State.REGISTERING, Action.REGISTER),
        (State.REGISTERING, Input.FAILED): (State.WAITING, Action.RETRY),
        (State.REGISTERING, Input.MOVED): (State.OUTDATED, None),
        (State.REGISTERING, Input.DRAIN): (State.CLOSING, None),
        **{(State.OUTDATED, each): (State.REGISTERING, Action.REGISTER) for each in _ANSWERS},
        (State.OUTDATED, Input.DRAIN): (State.CLOSING, None),
        (State.REGISTERED, Input.DUE): (State.REGISTERING, Action.REGISTER),
        (State.REGISTERED, Input.MOVED): (State.REGISTERING, Action.REGISTER),
        (State.REGISTERED, Input.DRAIN): (State.LEAVING, Action.UNREGISTER),
        (State.WAITING, Input.DUE): (State.REGISTERING, Action.REGISTER),
        (State.WAITING, Input.MOVED): (State.REGISTERING, Action.REGISTER),
        (State.WAITING, Input.DRAIN): (State.LEAVING, Action.UNREGISTER),
        # What got no answer may have been heard all the same.
        **{(State.CLOSING, each): (State.LEAVING, Action.UNREGISTER) for each in _ANSWERS},
        **{(State.LEAVING, each): (State.LEFT, None) for each in _ANSWERS},
    }

    def __init__(
        self, registrar: SipUri, user: str, expires_s: int, jitter: Callable[[], float]
    ) -> None:
        """`user` is the user part of our Contact; `jitter()` is uniform in [0, 1)."""
        self.state = State.IDLE
        #: Of the last final response.
        self.status: int | None = None
        self.reason = ""
        #: Where our last request came from, as the registrar saw it: our address beyond a NAT.
        self.seen_as: tuple[str, int] | None = None
        self._registrar = self._target = registrar
        self._user = user
        self._wanted_s = self._asked_s = expires_s
        self._jitter = jitter
        self._cseq = 0
        self._failures = 0
        self._detours = 0
        self._due: float | None = None
        self._bound_until: float | None = None
        self._answer: Response | None = None

    def is_registered(self, now: float) -> bool:
        """Does a binding of ours hold?"""
        return self._bound_until is not None and now < self._bound_until

    @property
    def has_failed(self) -> bool:
        """Was the last REGISTER that we have an answer to refused, or never answered?"""
        return self._failures > 0

    @property
    def expires_at(self) -> float | None:
        """When the last binding ends that was granted; None without one."""
        return self._bound_until

    @property
    def due(self) -> float | None:
        """When `Input.DUE` is to be fed; None: not before something else happens."""
        return self._due

    def step(self, happened: Input | Response, now: float) -> Register | None:
        """Feed what happened; a Response is the final one to the last REGISTER.

        Returns the REGISTER that is to be sent now, if any. What a state has no row for is ignored.
        """
        if isinstance(happened, Response):
            happened = self._take(happened)
        row = self.table.get((self.state, happened))
        if row is None:
            return None
        if happened is Input.GRANTED and self.state is not State.LEAVING:
            self._granted(now)
        unbound = happened is Input.DRAIN and not self.is_registered(now)
        if unbound and self.state is State.WAITING:
            row = (State.LEFT, None)  # there is nothing to remove
        self.state, action = row
        self._due = None
        return self._perform(action, now)

    def _perform(self, action: Action | None, now: float) -> Register | None:
        match action:
            case Action.REGISTER:
                return self._next(self._asked_s)
            case Action.UNREGISTER:
                return self._next(0)
            case Action.REFRESH:
                assert self._bound_until is not None  # it was granted just now
                self._due = now + refresh_after(self._bound_until - now)
            case Action.RETRY:
                self._failures += 1
                self._detours = 0
                self._target, self._asked_s = self._registrar, self._wanted_s
                self._due = now + self._pause()
        return None

    def _next(self, expires_s: int) -> Register:
        self._cseq += 1  # 10.2: of one Call-ID, each one higher than the last
        return Register(self._target, self._cseq, expires_s)

    def _take(self, response: Response) -> Input:
        """Note a final response, and say which input it is."""
        self._answer = response
        self.status, self.reason = response.status, response.reason
        self._note_sent(response)
        if self.state is State.LEAVING:
            self._bound_until = None
        if response.status < 300:
            # 10.3, 8: a 200 that grants nothing has not registered us.
            return Input.GRANTED if self._granted_s(response) else Input.FAILED
        self._detours += 1
        if self._detours > _DETOURS:
            return Input.FAILED
        if response.status == 423 and (least := _least(response)) > self._asked_s:
            self._asked_s = least
            return Input.TOO_BRIEF  # 10.2.8
        if response.status < 400 and (target := _redirection(response)) is not None:
            self._target = target
            return Input.REDIRECTED  # 8.1.3.4
        return Input.FAILED

    def _note_sent(self, response: Response) -> None:
        try:
            self._cseq = max(self._cseq, response.cseq.number)  # a challenge took more of them
            via = response.via
            port = parse_digits(via.params.get("rport") or str(via.port or 5060), 65536, "rport")
            self.seen_as = (via.params.get("received") or via.host, port)
        except SipError:
            pass  # it was made on our side, or by somebody careless

    def _granted(self, now: float) -> None:
        assert self._answer is not None
        self._failures = self._detours = 0
        self._bound_until = now + self._granted_s(self._answer)

    def _granted_s(self, response: Response) -> int:
        """10.2.4: the `expires` of our Contact, else the Expires field, else what we asked for.

        Registrars rewrite Contacts, and others may be bound to the same address. Ours is the one
        that was refreshed just now: it has the most time left, but no more than we asked for.
        """
        default = _seconds(response.headers.get("Expires"), self._asked_s)
        found = []
        try:
            for text in islice(response.headers.get_list("Contact"), _MAX_CONTACTS):
                contact = NameAddr.parse(text)
                if contact.uri.user == self._user:
                    found.append(_seconds(contact.params.get("expires"), default))
        except SipError:
            pass
        granted = [each for each in found if each <= self._asked_s] or found[:1] or [default]
        return max(granted)

    def _pause(self) -> float:
        wished = _retry_after(self._answer)
        if wished is not None:
            return min(wished, MAX_S) * (1 + 0.1 * self._jitter())
        longest = min(MAX_S, BASE_S * 2.0 ** min(self._failures, 16))
        return longest * (1 - 0.5 * self._jitter())


def refresh_after(granted_s: float) -> float:
    """How long after a binding was granted it is refreshed, s.

    At 90 %, but early enough to notice that nobody answers; short ones at their half.
    """
    return max(_SOONEST_S, granted_s / 2, min(0.9 * granted_s, granted_s - _MARGIN_S))


def _seconds(text: str | None, default: int) -> int:
    try:
        return min(parse_digits((text or "").strip(), 2**32, "Expires"), _LONGEST_S)
    except SipError:
        return default


def _least(response: Response) -> int:
    """What a 423 asks for; 0 where it does not say (20.23: it has to)."""
    return _seconds(response.headers.get("Min-Expires"), 0)


def _redirection(response: Response) -> SipUri | None:
    try:
        uri = response.contact.uri if response.contact else None
    except SipError:
        return None
    return uri if isinstance(uri, SipUri) else None


def _retry_after(response: Response | None) -> int | None:
    """20.33: `Retry-After: 120 (a comment);duration=60`, in s; None when it does not say."""
    text = (response.headers.get("Retry-After") or "") if response else ""
    seconds = _seconds(text.partition(";")[0].partition("(")[0], -1)
    return None if seconds < 0 else max(seconds, 1)
