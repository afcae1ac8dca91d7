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
from ingress_sip.limits import SourceLimits
from ingress_sip.media_setup import MediaConfig, codecs_of
from ingress_sip.sdp.crypto import KEY_MATERIAL
from ingress_sip.sdp.offer_answer import LocalMedia, answer
from ingress_sip.sdp.security import LocalSecurity, MediaSecurity
from ingress_sip.sdp.session import SdpError
from ingress_sip.signalling.digest import WrongCredentialsError
from ingress_sip.signalling.errors import IgnoredError, SipError
from ingress_sip.signalling.inspection import sdp_of
from ingress_sip.signalling.message import Request
from ingress_sip.signalling.replies import REASONS
from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.signalling.uri import SipUri
from ingress_sip.trunking.config import Trunk
from ingress_sip.trunking.policy import Admitted, Policy, SilenceError
from telemetry import metrics

_log = structlog.get_logger(__name__)
_RETRY_S: Final = 10
#: A flood of refusals is told once in so long, s.
_TELL_EVERY_S: Final = 1.0
#: What proves nothing, but takes the place of keys while an offer is only looked at.
_NO_KEYS: Final = bytes(KEY_MATERIAL)

Lack = Literal["lines"] | Shortage

#: What a caller is refused for who could have been served at another time, in words.
SHORTAGES: Final[dict[Lack, str]] = {
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
    """Looks at requests before they are calls or bindings (signalling.core.Policy)."""

    def __init__(
        self,
        agents: Agents,
        policy: Policy,
        limits: SourceLimits,
        *,
        media: MediaConfig,
        shortage: Callable[[], Lack | None],
        clock_s: Callable[[], float],
    ) -> None:
        """`shortage()` says what one more call would lack; None when it can be carried."""
        self._agents = agents
        self._policy = policy
        self._limits = limits
        self._media = media
        self._shortage = shortage
        self._clock_s = clock_s
        self._told_s = float("-inf")
        self._untold = 0

    def hears(self, source: Hop, now: float) -> bool:
        """Is what cannot be read answered, coming from there?"""
        known = self._policy.is_trunk(source.host) or not self._policy.is_silent
        return known and self._may_begin(source, now)

    def trusts(self, source: Hop, admitted: object) -> bool:
        """Is it where its datagrams say? Trunks and this machine are; whoever had our challenge."""
        proven = isinstance(admitted, Admitted) and admitted.proven
        known = self._policy.is_trunk(source.host) or self._limits.is_trusted(source.host)
        return proven or known

    def admit(self, request: Request, source: Hop, now: float) -> None:
        """Outside of dialogs: is whoever asks to be answered at all?"""
        if not self._may_begin(source, now):
            metrics.SIP_DROPPED.labels("beginnings").inc()
            raise IgnoredError
        if self._policy.is_silent_to(request, source, now):
            metrics.SIP_DROPPED.labels("unknown").inc()
            raise IgnoredError

    def _may_begin(self, source: Hop, now: float) -> bool:
        """A trunk is no flood, at whichever address its name leads to now."""
        return self._limits.admits_beginning(source.host, now) or self._policy.is_trunk(source.host)

    def register(
        self, request: Request, source: Hop, now: float
    ) -> tuple[tuple[str, str], ...] | None:
        """Do what a REGISTER asks; None: there is no registrar."""
        if self._policy.registrar is None:
            return None
        try:
            return self._policy.register(request, source, now)
        except SilenceError:
            raise IgnoredError from None
        except SipError as error:
            self._count_failure(error, request, source, now)
            raise

    def screen(self, invite: Request, source: Hop, now: float) -> Admitted:
        """Who calls. Raises SipError with the answer to an INVITE that cannot become a call."""
        try:
            admitted = self._policy.admit(invite, source, now)
        except SilenceError:
            metrics.SIP_DROPPED.labels("unknown").inc()
            raise IgnoredError from None
        except SipError as error:
            self._count_failure(error, invite, source, now)
            raise
        try:
            self._check(invite, admitted, source)
        except RefusedError as refusal:
            self.refused(refusal, invite)
            phrase = REASONS[refusal.status]  # `why` holds words of the peer, and of ours
            raise SipError(refusal.status, phrase, refusal.headers) from refusal
        return admitted

    def agent_for(self, number: str) -> Agent:
        """The agent that answers the number called.

        Raises:
            RefusedError: nobody does.
        """
        number = plain(number)
        agent = self._agents.for_number(number)
        if agent is None:
            raise RefusedError(404, f"no agent answers {number!r}", reason="no_agent")
        return agent

    def refused(self, refusal: RefusedError, invite: Request) -> None:
        """Count a refusal; tell of it, unless one was told of just now."""
        metrics.CALLS.labels("sip", Ending.REFUSED.value).inc()
        metrics.CALLS_REFUSED.labels(refusal.reason).inc()
        self._tell(refusal.status, str(refusal), invite)

    def _count_failure(self, error: SipError, request: Request, source: Hop, now: float) -> None:
        """Whoever guesses at passwords or numbers is not listened to for a while."""
        if isinstance(error, WrongCredentialsError):
            self._limits.failed_authentication(source.host, now)
        if error.status != 401:
            metrics.CALLS_REFUSED.labels("policy").inc()
            self._tell(error.status, error.reason, request)

    def _tell(self, status: int, why: str, request: Request) -> None:
        now = self._clock_s()
        if now - self._told_s < _TELL_EVERY_S:
            self._untold += 1
            return
        _log.info(
            "sip.refused", status=status, why=why, number=number_called(request),
            source=request.via.params.get("received") or request.via.host, others=self._untold,
        )  # fmt: skip
        self._told_s, self._untold = now, 0

    def _check(self, invite: Request, admitted: Admitted, source: Hop) -> None:
        if "Replaces" not in invite.headers:  # else it takes over a call that is here (RFC 3891)
            self.agent_for(admitted.number)
            if (short := self._shortage()) is not None:
                why = SHORTAGES[short]
                raise RefusedError(503, why, reason=short, retry_after_s=_RETRY_S)
        if offered := sdp_of(invite):
            try:
                answer(offered, self._anywhere(admitted.trunk, source))
            except SdpError as error:
                raise RefusedError(error.status, error.reason, reason="media") from error

    def _anywhere(self, trunk: Trunk | None, source: Hop) -> LocalMedia:
        """Which offers can be answered does not depend on our address."""
        media = self._media
        policy = media.security if trunk is None else MediaSecurity(trunk.srtp)
        codecs = media.codecs if trunk is None else codecs_of(trunk.codecs)
        security = LocalSecurity(
            policy,
            signalling_secure=source.transport is Transport.TLS,
            key_material=_NO_KEYS,
            fingerprint=media.fingerprint,
        )
        return LocalMedia("192.0.2.1", 9, session_id=0, codecs=codecs, security=security)


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
