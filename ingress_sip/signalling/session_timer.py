"""Session timers: who refreshes a session, and how often (RFC 4028)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.message import Message, Request, Response
from ingress_sip.signalling.parameters import NO_PARAMETERS, Parameters

OPTION: Final = "timer"
LEAST: Final = 90
"""Section 4: no session timer may be shorter, s."""
_MOST: Final = 86_400
Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class TimerPolicy:
    """What we ask for and what we bear, in s. `expires` 0: never ask; a peer may still."""

    expires: int = 1800
    least: int = LEAST


class Refresh(NamedTuple):
    """An agreed timer: its interval in s, and whether the refreshing is ours."""

    interval: int
    ours: bool

    @property
    def refresh_after(self) -> float:
        """Section 10: half of it."""
        return self.interval / 2

    @property
    def give_up_after(self) -> float:
        """Section 10: a bit before the other side does."""
        return self.interval - min(32.0, self.interval / 3)


class SessionExpires(NamedTuple):
    """The header field: `1800;refresher=uac`."""

    interval: int
    refresher: str | None = None

    @classmethod
    def of(cls, message: Message) -> SessionExpires | None:
        """The message's, None when it has none. Raises SipError(400)."""
        value = message.headers.get("Session-Expires")
        if value is None:
            return None
        seconds, semicolon, rest = value.partition(";")
        parameters = Parameters.parse(rest) if semicolon else NO_PARAMETERS
        refresher = (parameters.get("refresher") or "").lower()
        return cls(_seconds(seconds), refresher if refresher in ("uac", "uas") else None)

    def __str__(self) -> str:
        return (
            f"{self.interval};refresher={self.refresher}" if self.refresher else f"{self.interval}"
        )


def asking(policy: TimerPolicy, running: Refresh | None = None, least: int = 0) -> Fields:
    """Section 7: what an INVITE or UPDATE of ours says of timers; `least` is a 422's Min-SE, s.

    A refresh (`running`) keeps the roles as they are (7.4).
    """
    interval = running.interval if running else policy.expires
    if not interval:
        return ()
    role = None if running is None else ("uac" if running.ours else "uas")
    fields = [("Session-Expires", str(SessionExpires(max(interval, least), role)))]
    if max(policy.least, least) > LEAST:
        fields.append(("Min-SE", str(max(policy.least, least))))
    return tuple(fields)


def answering(request: Request, policy: TimerPolicy) -> tuple[Refresh | None, Fields]:
    """Section 9: the timer that our 2xx agrees to, and what the 2xx says of it.

    Raises:
        SipError: 422 with Min-SE, for an interval that we do not bear.
    """
    asked = SessionExpires.of(request)
    supports = OPTION in request.tokens("Supported") or OPTION in request.tokens("Require")
    if asked is not None and asked.interval < policy.least:
        if supports:
            fields = [("Min-SE", str(policy.least))]
            raise SipError(422, "Session Interval Too Small", fields)
        asked = asked._replace(interval=policy.least)  # put in by a proxy; it would not see a 422
    if asked is None:
        if not supports or not policy.expires:
            return None, ()
        interval = max(policy.expires, _least_of(request))
        asked = SessionExpires(interval)
    # Table 2: without support there it is ours; else as asked, and the peer's where that is open.
    refresher = (asked.refresher or "uac") if supports else "uas"
    agreed = SessionExpires(asked.interval, refresher)
    # It has to know: to refresh, or to hang up when we do not.
    required: Fields = (("Require", OPTION),) if supports else ()
    said = (*required, ("Session-Expires", str(agreed)))
    return Refresh(asked.interval, ours=refresher == "uas"), said


def answered(response: Response) -> Refresh | None:
    """Section 7.2: the timer that a 2xx to us agrees to. An unreadable one is none."""
    try:
        said = SessionExpires.of(response)
    except SipError:
        return None
    if said is None:
        return None
    # 7.2: without a refresher parameter it is ours.
    return Refresh(max(said.interval, LEAST), ours=said.refresher != "uas")


def least_asked(response: Response) -> int:
    """7.3: the Min-SE of a 422, s; 0 where it says none that can be read."""
    try:
        return _least_of(response)
    except SipError:
        return 0


def _least_of(message: Message) -> int:
    value = message.headers.get("Min-SE")
    return 0 if value is None else _seconds(value.partition(";")[0])


def _seconds(text: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise SipError(400, "Bad Session Timer")
    return min(int(text), _MOST)
