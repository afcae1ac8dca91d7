"""Who is let in: an INVITE that cannot become a call is refused before anything is kept of it.

RFC 3261 8.2.7: such a refusal is stateless. It is sent once for each time the INVITE comes, and
costs no transaction, no port and no entry; so a flood of INVITEs is answered by no more datagrams
than it is made of, and takes no room from the calls that are here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import structlog

from bus.pools import Shortage
from calls.agent import Agent, Agents
from calls.ending import Ending
from ingress_sip.sdp.codecs import PCMA, PCMU
from ingress_sip.sdp.offer_answer import LocalMedia, answer
from ingress_sip.sdp.session import SdpError
from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.inspection import sdp_of
from ingress_sip.signalling.message import Request
from ingress_sip.signalling.replies import REASONS
from ingress_sip.signalling.routing import Hop
from ingress_sip.signalling.uri import SipUri
from telemetry import metrics

_log = structlog.get_logger(__name__)
CODECS: Final = (PCMU, PCMA)
_RETRY_S: Final = 10
#: Which offers can be answered does not depend on our address.
_ANYWHERE: Final = LocalMedia("192.0.2.1", 9, session_id=0, codecs=CODECS)
#: A flood of refusals is told once in so long, s.
_TELL_EVERY_S: Final = 1.0


#: What a caller is refused for who could have been served at another time, in words.
_SHORTAGES: Final = {
    "lines": "all lines are busy",
    "pool_full": "no transcriber is free",
    "pool_late": "answers wait for too long",
    "pool_missing": "a pool of workers is away",
}


class RefusedError(Exception):
    """A call is not taken: the status to answer, why in words, and in one word for the metrics."""

    def __init__(
        self, status: int, why: str, *, reason: str, retry_after_s: int | None = None
    ) -> None:
        super().__init__(why)
        self.status = status
        self.reason = reason
        self.headers = () if retry_after_s is None else (("Retry-After", str(retry_after_s)),)


class Admission:
    """Looks at INVITEs before they are calls."""

    def __init__(
        self,
        agents: Agents,
        shortage: Callable[[], Literal["lines"] | Shortage | None],
        clock_s: Callable[[], float],
    ) -> None:
        """`shortage()` says what one more call would lack; None when it can be carried."""
        self._agents = agents
        self._shortage = shortage
        self._clock_s = clock_s
        self._told_s = float("-inf")
        self._untold = 0

    def agent_for(self, invite: Request) -> Agent:
        """The agent that answers the number called.

        Raises:
            RefusedError: nobody does.
        """
        number = number_called(invite)
        agent = self._agents.for_number(number)
        if agent is None:
            raise RefusedError(404, f"no agent answers {number!r}", reason="no_agent")
        return agent

    def admit(self, request: Request, source: Hop, now: float) -> None:
        """Anybody may ask."""

    def register(self, request: Request, source: Hop, now: float) -> None:
        """There is no registrar."""

    def screen(self, invite: Request) -> None:
        """Raises SipError with the answer to an INVITE that cannot become a call."""
        try:
            self._check(invite)
        except RefusedError as refusal:
            self.refused(refusal, invite)
            phrase = REASONS[refusal.status]  # `why` holds words of the peer, and of ours
            raise SipError(refusal.status, phrase, refusal.headers) from refusal

    def refused(self, refusal: RefusedError, invite: Request) -> None:
        """Count a refusal; tell of it, unless one was told of just now."""
        metrics.CALLS.labels("sip", Ending.REFUSED.value).inc()
        metrics.CALLS_REFUSED.labels(refusal.reason).inc()
        now = self._clock_s()
        if now - self._told_s < _TELL_EVERY_S:
            self._untold += 1
            return
        _log.info(
            "sip.refused", status=refusal.status, why=str(refusal), number=number_called(invite),
            source=invite.via.params.get("received") or invite.via.host, others=self._untold,
        )  # fmt: skip
        self._told_s, self._untold = now, 0

    def _check(self, invite: Request) -> None:
        self.agent_for(invite)
        if (short := self._shortage()) is not None:
            why = _SHORTAGES[short]
            raise RefusedError(503, why, reason=short, retry_after_s=_RETRY_S)
        if offered := sdp_of(invite):
            try:
                answer(offered, _ANYWHERE)
            except SdpError as error:
                raise RefusedError(error.status, error.reason, reason="media") from error


def number_called(invite: Request) -> str:
    """The number or user that the INVITE is for."""
    return plain(invite.uri.user)


def caller_of(invite: Request) -> str:
    """Whoever calls, by number or user; by host where the URI has neither."""
    uri = invite.from_.uri
    return plain(uri.user) or (uri.host if isinstance(uri, SipUri) else "anonymous")


def plain(text: str) -> str:
    """What the peer wrote, as text: octets that are no UTF-8 have no place in a log."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
