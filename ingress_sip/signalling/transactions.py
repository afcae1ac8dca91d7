"""The live transactions: found by key, stepped by timers, dropped when they end."""

from __future__ import annotations

from ingress_sip.signalling.inspection import size_of
from ingress_sip.signalling.invite_client import InviteClient
from ingress_sip.signalling.invite_server import InviteServer
from ingress_sip.signalling.message import Message, Request
from ingress_sip.signalling.non_invite_client import NonInviteClient
from ingress_sip.signalling.non_invite_server import NonInviteServer
from ingress_sip.signalling.presence import Presence
from ingress_sip.signalling.routing import Hop
from ingress_sip.signalling.transaction import (
    Input,
    Origin,
    Surroundings,
    Timer,
    TransactionKey,
    key_of,
)

ServerTransaction = InviteServer | NonInviteServer

ClientTransaction = InviteClient | NonInviteClient

_CLIENT_TIMERS = frozenset({Timer.A, Timer.B, Timer.C, Timer.D, Timer.E, Timer.F, Timer.K, Timer.M})


class Transactions:
    """Every server and client transaction of one core."""

    def __init__(self, surroundings: Surroundings, limit: int) -> None:
        self._surroundings = surroundings
        self._limit = limit
        self._servers: dict[TransactionKey, ServerTransaction] = {}
        self._clients: dict[TransactionKey, ClientTransaction] = {}
        self._invites: set[Origin] = set()
        self.presence = Presence()

    def __len__(self) -> int:
        return len(self._servers) + len(self._clients)

    @property
    def full(self) -> bool:
        """No new work should be taken on."""
        return len(self) >= self._limit

    def server(self, key: TransactionKey) -> ServerTransaction | None:
        return self._servers.get(key)

    def client_for(self, response: Message) -> ClientTransaction | None:
        return self._clients.get(key_of(response))

    def is_merged(self, request: Request) -> bool:
        """8.2.2.2: an INVITE that is already here, having come by another path."""
        return Origin.of(request) in self._invites

    def accept_invite(self, request: Request, destination: Hop, now: float) -> InviteServer:
        key = key_of(request)
        invite = InviteServer(key, request, destination, self._surroundings, now)
        self._servers[key] = invite
        self._invites.add(Origin.of(request))
        self.presence.begun(invite.host, size_of(request))
        return invite

    def accept_request(self, request: Request, destination: Hop) -> NonInviteServer:
        key = key_of(request)
        transaction = NonInviteServer(key, request, destination, self._surroundings)
        self._servers[key] = transaction
        return transaction

    def send_request(self, request: Request, destination: Hop, now: float) -> ClientTransaction:
        key = key_of(request)
        kind = InviteClient if request.method == "INVITE" else NonInviteClient
        client = kind(key, request, destination, self._surroundings, now)
        self._clients[key] = client
        return client

    def is_answered(self, key: TransactionKey) -> bool:
        """Has a client of ours its final response?"""
        client = self._clients.get(key)
        return client is not None and client.answered

    def cancelled(self, key: TransactionKey, now: float) -> None:
        """A CANCEL went after this INVITE of ours: it waits no longer than 64*T1 (9.1)."""
        if (client := self._clients.get(key)) is not None:
            client.step(Input.CANCEL, now)

    def drop_client(self, key: TransactionKey) -> None:
        """Its request could not be sent."""
        self._clients.pop(key, None)
        for timer in _CLIENT_TIMERS:
            self._surroundings.timers.cancel((key, timer))

    def on_timer(self, key: TransactionKey, timer: Timer, now: float) -> ClientTransaction | None:
        """Step the transaction; returns a client that has ended by it."""
        if timer in _CLIENT_TIMERS:
            client = self._clients[key]
            client.step(timer, now)
            if not client.terminated:
                return None
            return self._clients.pop(key)
        server = self._servers[key]
        server.step(timer, now)
        if server.terminated:
            del self._servers[key]
            if isinstance(server, InviteServer):
                self._invites.discard(Origin.of(server.request))
                self.presence.ended(server.host, size_of(server.request))
        return None
