"""Requests of ours: each is tried at its hops in turn, and again with credentials where asked.

One request may so become several transactions (RFC 3261 8.1.3.5, 22.2; RFC 3263 4.3). Whoever asks
writes it anew for each try, and hears only how it ended: a time-out as a 408 and a transport that
failed as a 503, as 8.1.3.1 says.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from ingress_sip.signalling.fields import MAGIC_COOKIE
from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.invite_client import InviteClient, cancel_of
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.non_invite_client import NonInviteClient
from ingress_sip.signalling.replies import build_response
from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.signalling.transaction import TransactionKey
from ingress_sip.signalling.transactions import Transactions

#: A UDP request that is larger goes by TCP (18.1.1), octets.
LARGEST_DATAGRAM: Final = 1300
#: So often credentials are sent anew: a challenge, a stale nonce, and a proxy's beside a server's.
_MOST_CHALLENGES: Final = 3


class Authorizer(Protocol):
    """What answers challenges: ingress_sip.signalling.digest.DigestClient."""

    def challenged(self, headers: Headers) -> bool: ...

    def headers(self, method: str, uri: str, body: bytes) -> tuple[tuple[str, str], ...]: ...


class Try(NamedTuple):
    """What one try of a request is written for."""

    hop: Hop
    branch: str
    is_new: bool = True  # with the next CSeq; False: the try before, by another transport


Write = Callable[[Try], Request]
#: `heard(request, response, source, now)`: of the try that the response answers.
Heard = Callable[[Request, Response, Hop, float], None]


@dataclass
class _Asking:
    """One request on its way."""

    write: Write
    hops: deque[Hop]
    answered: Heard
    provisional: Heard | None
    digest: Authorizer | None
    hop: Hop
    challenges: int = 0
    #: Where it goes in fragments, if nobody listens where it went for its size; then it did.
    datagram: Hop | None = None
    in_fragments: bool = False
    #: 9.1: it is to be cancelled as soon as there is a provisional response.
    cancel: tuple[tuple[str, str], ...] | None = None
    rung: bool = False
    #: Its final response is here.
    done: bool = False
    #: The try that is on its way.
    request: Request = field(init=False)
    key: TransactionKey | None = None


class Clients:
    """The client side of one core, below its calls."""

    def __init__(self, transactions: Transactions, tokens: Callable[[], str]) -> None:
        self._transactions = transactions
        self._tokens = tokens
        self._asking: dict[TransactionKey, _Asking] = {}

    def send(
        self,
        write: Write,
        hops: Iterable[Hop],
        answered: Heard,
        now: float,
        *,
        digest: Authorizer | None = None,
        provisional: Heard | None = None,
    ) -> Asked:
        """Send what `write(try)` writes. `answered` hears of the final response, once; for an
        INVITE, of every 2xx.
        """
        first, *others = hops
        asking = _Asking(write, deque(others), answered, provisional, digest, first)
        self._go(asking, first, now)
        return Asked(self, asking)

    def branch(self) -> str:
        """A new branch."""
        return MAGIC_COOKIE + self._tokens()

    def on_response(self, response: Response, source: Hop, now: float) -> None:
        """A response from the network; one that no transaction waits for is dropped."""
        client = self._transactions.client_for(response)
        if client is None or not client.received(response, now):
            return
        asking = self._asking.get(client.key)
        if asking is not None:
            self._heard(asking, response, source, now)

    def on_timeout(self, client: InviteClient | NonInviteClient, now: float) -> None:
        """Nobody answered (8.1.3.1)."""
        self._lost(client.key, 408, now)

    def on_too_long(self, key: TransactionKey, now: float) -> None:
        """An INVITE rings for longer than any proxy waits (16.8): it is cancelled."""
        if (asking := self._asking.get(key)) is not None:
            self.cancel(asking, (), now)

    def on_transport_failure(self, hop: Hop, now: float) -> None:
        """What was sent there did not leave, or its connection is gone (8.1.3.1, 17.1.4).

        Who rings already may answer on a connection of its own (18.2.2).
        """
        # An INVITE that was answered lives on, for 2xx that come again (RFC 6026 7.2).
        waiting = [
            key
            for key, asking in self._asking.items()
            if asking.hop.leads_to(hop) and not (asking.rung or self._transactions.is_answered(key))
        ]
        for key in waiting:
            self._transactions.drop_client(key)
            self._lost(key, 503, now)

    def _lost(self, key: TransactionKey, status: int, now: float) -> None:
        if (asking := self._asking.get(key)) is not None:
            response = build_response(asking.request, status)
            self._heard(asking, response, asking.hop, now, lost=True)

    def _heard(
        self, asking: _Asking, response: Response, source: Hop, now: float, *, lost: bool = False
    ) -> None:
        if response.status < 200:
            self._rang(asking, response, source, now)
            return
        is_invite = asking.request.method == "INVITE"
        failed = response.status >= 300
        if failed and asking.cancel is None and self._again(asking, response, now, lost=lost):
            return
        asking.done = True
        if asking.key is not None and (failed or not is_invite):
            self.forget(asking.key)
        asking.answered(asking.request, response, source, now)

    def _rang(self, asking: _Asking, response: Response, source: Hop, now: float) -> None:
        first = not asking.rung
        asking.rung = True
        if first and asking.cancel is not None:
            self._send_cancel(asking, asking.cancel, now)
        if asking.provisional is not None and response.status > 100:
            asking.provisional(asking.request, response, source, now)

    def _again(self, asking: _Asking, response: Response, now: float, *, lost: bool) -> bool:
        """Try it again, with credentials or elsewhere, if that may help."""
        in_fragments = False
        if response.status in (401, 407):
            digest = asking.digest
            if digest is None or asking.challenges >= _MOST_CHALLENGES:
                return False
            if not digest.challenged(response.headers):
                return False
            asking.challenges += 1
            hop, in_fragments = asking.hop, asking.in_fragments
        elif lost and asking.datagram is not None:
            hop, in_fragments = asking.datagram, True
        elif (lost or response.status == 503) and asking.hops:
            # RFC 3263 4.3: that one is not there, or is full. A 408 that somebody sent is neither:
            # it may have rung.
            hop = asking.hops.popleft()
        else:
            return False
        if asking.key is not None:
            self.forget(asking.key)
        self._go(asking, hop, now, in_fragments=in_fragments)
        return True

    def _go(self, asking: _Asking, hop: Hop, now: float, *, in_fragments: bool = False) -> None:
        request = asking.write(Try(hop, self.branch()))
        digest, uri = asking.digest, str(request.uri)
        # A nonce that is known already saves a round trip.
        credentials = digest.headers(request.method, uri, request.body) if digest else ()
        request = _with(request, credentials)
        too_large = len(request.encode()) > LARGEST_DATAGRAM and not in_fragments
        asking.datagram, asking.in_fragments = None, in_fragments
        if hop.transport is Transport.UDP and not hop.flow and too_large:
            # 18.1.1: by TCP; in fragments after all where nobody listens there. Who is reached by a
            # flow of its own, as a phone behind NAT, cannot be reached otherwise.
            asking.datagram = hop
            hop = hop._replace(transport=Transport.TCP)
            request = _with(asking.write(Try(hop, self.branch(), is_new=False)), credentials)
        asking.request, asking.hop, asking.rung = request, hop, False
        asking.key = self._transactions.send_request(request, hop, now).key
        self._asking[asking.key] = asking

    def cancel(self, asking: _Asking, extra: tuple[tuple[str, str], ...], now: float) -> None:
        """Cancel an INVITE: at once, or when the first provisional response is here (9.1)."""
        if asking.cancel is not None or asking.done:
            return
        asking.cancel = extra
        if asking.rung:
            self._send_cancel(asking, extra, now)

    def _send_cancel(self, asking: _Asking, extra: tuple[tuple[str, str], ...], now: float) -> None:
        cancel = _with(cancel_of(asking.request), extra)
        self._transactions.send_request(cancel, asking.hop, now)
        if asking.key is not None:
            self._transactions.cancelled(asking.key, now)

    def forget(self, key: TransactionKey) -> None:
        """The transaction is gone: no further 2xx of its INVITE comes."""
        self._asking.pop(key, None)


class Asked:
    """A request that was sent."""

    def __init__(self, clients: Clients, asking: _Asking) -> None:
        self._clients = clients
        self._asking = asking

    def cancel(self, extra: tuple[tuple[str, str], ...], now: float) -> None:
        """Cancel it, an INVITE; its final response comes all the same."""
        self._clients.cancel(self._asking, extra, now)


def _with(request: Request, extra: Iterable[tuple[str, str]]) -> Request:
    headers = Headers((*request.headers.items, *extra))
    return Request(request.method, request.uri, headers=headers, body=request.body)
