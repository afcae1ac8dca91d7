"""Twilio's side, in a test: signed webhooks, a door behind them, and the REST API on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from aiohttp import encode_basic_auth, web
from multidict import MultiDict
from twilio.request_validator import RequestValidator

from ingress_web.carriers.twilio_check import TwilioCheck
from ingress_web.carriers.twilio_webhook import TwilioWebhook
from ingress_web.door import Dialled, Next, Offer, Refused, Standing, StatusChange
from ingress_web.proxies import Proxies
from ingress_web.refusals import Refusals
from ingress_web.tokens import StreamTokens
from ingress_web.webhooks import Request

ACCOUNT = "AC" + "a" * 32
CALL = "CA" + "1" * 32
OTHER_CALL = "CA" + "2" * 32
AUTH_TOKEN = "f" * 32
PUBLIC = "https://voice.example.com"
TWILIO = "203.0.113.80"


class Clock:
    """Time in a test, s."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeDoor:
    """Admits everybody, and does as it is told."""

    stands: dict[str, Standing] = field(default_factory=dict)
    refuse: Refused | None = None
    fail: Exception | None = None
    after_stream: Next = "connect"
    after_dial: Next = "connect"
    wait: asyncio.Event | None = None
    offers: list[Offer] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    outcomes: list[Dialled] = field(default_factory=list)
    changes: list[StatusChange] = field(default_factory=list)
    steps: list[tuple[str, int, str]] = field(default_factory=list)

    def standing(self, call: str) -> Standing:
        return self.stands.get(call, "unknown")

    async def admit(self, offer: Offer) -> Refused | None:
        self.offers.append(offer)
        if self.wait is not None:
            await self.wait.wait()
        if self.fail is not None:
            raise self.fail
        if self.refuse is None:
            self.stands[offer.call] = "expected"
        return self.refuse

    def stream_ended(self, call: str) -> Next:
        self.ended.append(call)
        return self.after_stream

    def transfer_progressed(self, call: str, status: int, detail: str) -> None:
        self.steps.append((call, status, detail))

    def dialled(self, call: str, outcome: Dialled) -> Next:
        self.outcomes.append(outcome)
        return self.after_dial

    def status_changed(self, change: StatusChange) -> None:
        self.changes.append(change)


class Desk:
    """A webhook with everything behind it, and Twilio's hand to sign with."""

    def __init__(self, *, unsigned: bool = False, auth_token: str | None = AUTH_TOKEN) -> None:
        self.clock = Clock()
        self.door = FakeDoor()
        self.tokens = StreamTokens("key", clock=self.clock)
        self.proxies = Proxies(PUBLIC, ("127.0.0.0/8",))
        check = TwilioCheck(auth_token, ACCOUNT, unsigned=unsigned, trusts=self.proxies.trusts)
        numbers = iter(range(1, 100_000))
        self.refusals = Refusals(self.clock)
        self.webhook = TwilioWebhook(
            self.door,
            self.tokens,
            check,
            clock=self.clock,
            nonce=lambda: f"n{next(numbers)}",
            refusals=self.refusals,
        )

    def request(
        self,
        target: str,
        fields: Mapping[str, str],
        *,
        source: str = TWILIO,
        signature: str | None = None,
        url: str | None = None,
    ) -> Request:
        """A request, signed as Twilio does unless a signature is given ("" for none)."""
        form = MultiDict(fields)
        read = self.proxies.url("http", target, {"Host": "inner"}, source)
        made = signed(url or str(read), form) if signature is None else signature
        headers = {"Host": "inner", **({"X-Twilio-Signature": made} if made else {})}
        return Request(read, form, headers, source)


def signed(url: str, form: Mapping[str, str], token: str = AUTH_TOKEN) -> str:
    """The signature of a request."""
    return str(RequestValidator(token).compute_signature(url, form))


def fields(**changes: str) -> dict[str, str]:
    """A call's webhook as Twilio writes it, with changes; an empty one takes a field away."""
    usual = {
        "AccountSid": ACCOUNT,
        "ApiVersion": "2010-04-01",
        "CallSid": CALL,
        "CallStatus": "ringing",
        "Called": "+15550001",
        "Caller": "+15557777",
        "CallerCity": "",
        "Direction": "inbound",
        "From": "+15557777",
        "To": "+15550001",
    }
    return {name: value for name, value in {**usual, **changes}.items() if value or name in usual}


Reply = tuple[int, Any]


class TwilioApi:
    """Twilio's REST API: takes what comes, and answers as told, the last answer again and again."""

    def __init__(self) -> None:
        self.replies: list[Reply] = [(201, {"sid": CALL, "status": "queued"})]
        self.requests: list[tuple[str, list[tuple[str, str]]]] = []
        self.auth = ""
        self.hold: asyncio.Event | None = None
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> TwilioApi:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        if self.hold is not None:
            self.hold.set()
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.text()
        self.requests.append((f"{request.method} {request.path}", parse_qsl(body)))
        self.auth = request.headers.get("Authorization", "")
        if self.hold is not None:
            await self.hold.wait()
        status, content = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if content is None and request.transport is not None:
            request.transport.close()
        if isinstance(content, str | bytes):
            return web.Response(status=status, body=content)
        return web.json_response(content, status=status)

    def sent(self, number: int = -1) -> dict[str, str]:
        """A request's fields."""
        return dict(self.requests[number][1])

    def knows(self, sid: str, token: str) -> bool:
        """Was the last request of this account?"""
        return self.auth == encode_basic_auth(sid, token)


def encoded(form: Mapping[str, str]) -> bytes:
    """A form as it is sent."""
    return urlencode(list(form.items())).encode()
