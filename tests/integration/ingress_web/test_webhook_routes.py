"""Twilio's webhooks by HTTP: what comes through, and a table of what does not."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Mapping
from urllib.parse import urlencode

import pytest
from aiohttp import ClientSession, web
from structlog.testing import capture_logs

from ingress_web.carriers import twiml
from ingress_web.forms import MAX_BODY
from ingress_web.gate import Gate, harden
from ingress_web.proxies import Proxies
from ingress_web.rate import RequestRate
from ingress_web.routes import twilio_routes
from tests.support.twilio import CALL, PUBLIC, Desk, encoded, fields, signed

FORM = "application/x-www-form-urlencoded"


class Site:
    """The routes on a port, and a client."""

    def __init__(self, public_url: str | None = PUBLIC, burst: float = 1000) -> None:
        self.desk = Desk()
        proxies = Proxies(public_url, ("127.0.0.0/8",))
        gate = Gate(
            proxies,
            RequestRate(1000, burst),
            clock=self.desk.clock,
            refusals=self.desk.refusals,
        )
        app = web.Application()
        app.add_routes(twilio_routes(self.desk.webhook, gate))
        app.on_response_prepare.append(harden)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)

    async def __aenter__(self) -> Site:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        self.client = ClientSession(f"http://127.0.0.1:{self.port}")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        await self._runner.cleanup()

    async def post(
        self, target: str, form: Mapping[str, str], *, url: str | None = None, **headers: str
    ) -> tuple[int, str]:
        """Send a form as Twilio does, signed for `url`."""
        sent = {
            "Content-Type": FORM,
            "X-Twilio-Signature": signed(url or PUBLIC + target, form),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        async with self.client.post(target, data=encoded(form), headers=sent) as response:
            return response.status, await response.text()

    async def raw(self, octets: bytes) -> int:
        """Send octets; the status of what comes back, 0 for nothing."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(octets)
            line = await reader.readline()
            return int(line.split()[1]) if line else 0
        finally:
            writer.close()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with Site() as made:
        yield made


async def test_a_call_goes_its_way(site: Site) -> None:
    status, body = await site.post("/twilio/voice?tenant=a%20b", fields())
    assert status == 200
    assert '<Parameter name="tenant" value="a b" />' in body
    action = body.partition('action="')[2].partition('"')[0].removeprefix(PUBLIC)
    status, body = await site.post(action, fields(CallStatus="in-progress"))
    assert (status, "<Stream" in body) == (200, True)
    dialled = site.desk.webhook.hook_url(CALL, twiml.DIALLED).removeprefix(PUBLIC)
    status, body = await site.post(dialled, fields(CallStatus="in-progress", DialCallStatus="busy"))
    assert (status, "<Stream" in body) == (200, True)
    assert await site.post("/twilio/status", fields(CallStatus="completed")) == (204, "")


async def test_answers_say_nothing_to_browsers(site: Site) -> None:
    for target, method in (("/twilio/voice", "POST"), ("/twilio/voice", "GET"), ("/", "GET")):
        async with site.client.request(method, target) as response:
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Cache-Control"] == "no-store"
            assert response.headers["Server"] == "trunkline"
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("public_url", "headers", "url"),
    [
        (PUBLIC, {"X_Forwarded_Host": "else.example"}, f"{PUBLIC}/twilio/voice"),
        (f"{PUBLIC}/tl", {}, f"{PUBLIC}/tl/twilio/voice"),
        (
            None,
            {"X_Forwarded_Proto": "https", "X_Forwarded_Host": "out.example"},
            "https://out.example/twilio/voice",
        ),
        # Twilio's signatures are with and without the port (docs/usage/security).
        (
            None,
            {"X_Forwarded_Proto": "https", "X_Forwarded_Host": "out.example:443"},
            "https://out.example/twilio/voice",
        ),
        (None, {"Host": "plain.example"}, "http://plain.example/twilio/voice"),
    ],
)
async def test_signatures_are_checked_for_the_public_url(
    public_url: str | None, headers: dict[str, str], url: str
) -> None:
    async with Site(public_url) as site:
        assert (await site.post("/twilio/voice", fields(), url=url, **headers))[0] == 200
        wrong = url.replace("://", "://x")
        assert (await site.post("/twilio/voice", fields(), url=wrong, **headers))[0] == 403


_GOOD = encoded(fields())
_HEADERS = {
    "Content-Type": FORM,
    "X-Twilio-Signature": signed(f"{PUBLIC}/twilio/voice", fields()),
}


async def _chunks() -> AsyncIterator[bytes]:
    for _ in range(MAX_BODY // 1024 + 1):
        yield b"A=" + b"x" * 1021 + b"&"


@pytest.mark.parametrize(
    ("method", "body", "headers", "status"),
    [
        ("POST", _GOOD, {}, 200),
        ("GET", None, {}, 405),
        ("HEAD", None, {}, 405),
        ("PUT", _GOOD, {}, 405),
        ("POST", _GOOD, {"X-Twilio-Signature": ""}, 403),
        ("POST", _GOOD, {"X-Twilio-Signature": "x" * 8000}, 403),
        ("POST", b"", {}, 403),
        ("POST", _GOOD, {"Content-Type": "application/json"}, 415),
        ("POST", _GOOD, {"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ("POST", _GOOD, {"Content-Type": f"{FORM}; charset=utf-16"}, 415),
        ("POST", gzip.compress(_GOOD), {"Content-Encoding": "gzip"}, 415),
        ("POST", b"A=" + b"x" * MAX_BODY, {}, 413),
        ("POST", "chunks", {}, 413),
        ("POST", b"&".join(b"a%d=1" % n for n in range(201)), {}, 400),
        ("POST", b"A=%ff%fe", {}, 400),
        ("POST", b"A=\xff\xfe", {}, 400),
        ("POST", b"A=%ED%A0%80", {}, 400),
        ("POST", b"\x00" * 100, {}, 403),
    ],
)
async def test_bad_requests(
    site: Site, method: str, body: bytes | str | None, headers: dict[str, str], status: int
) -> None:
    data = _chunks() if body == "chunks" else body
    sent = {**_HEADERS, **headers}
    async with site.client.request(method, "/twilio/voice", data=data, headers=sent) as response:
        assert response.status == status
        assert len(await response.read()) < 1000
    assert len(site.desk.door.offers) == (status == 200)


@pytest.mark.parametrize("path", ["connected", "dialled", "status", "voice"])
async def test_every_webhook_wants_a_signature(site: Site, path: str) -> None:
    form = fields(DialCallStatus="busy")
    status, _ = await site.post(f"/twilio/{path}", form, url="https://evil.example/")
    assert status == 403
    door = site.desk.door
    assert (door.offers, door.ended, door.outcomes, door.changes) == ([], [], [], [])


@pytest.mark.parametrize(
    "line",
    [
        b"POST http://evil.example/twilio/voice HTTP/1.1",
        b"POST /twilio/voice?a=\xc3\xa9 HTTP/1.1",
        b"POST /twilio/voice?a=%ff HTTP/1.1",
        b"POST /twilio/%76oice HTTP/1.1",
    ],
)
async def test_a_request_line_that_is_odd_is_refused(site: Site, line: bytes) -> None:
    lines = [
        line, b"Host: inner", b"Content-Type: " + FORM.encode(), b"X-Twilio-Signature: x",
        b"Content-Length: 0", b"", b"",
    ]  # fmt: skip
    assert await site.raw(b"\r\n".join(lines)) in (400, 403)


async def test_a_body_that_does_not_come_is_not_waited_for(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingress_web.gate._BODY_S", 0.05)
    lines = ["POST /twilio/voice HTTP/1.1", "Host: x", f"Content-Type: {FORM}", "Content-Length: 9"]
    assert await site.raw("\r\n".join([*lines, "", "A="]).encode()) == 408


async def test_one_source_asks_so_often() -> None:
    async with Site(burst=3) as site:
        with capture_logs() as logs:
            told = [await site.post("/twilio/voice", fields()) for _ in range(5)]
        assert [status for status, _ in told] == [200, 200, 200, 429, 429]
        assert [line["why"] for line in logs if line["event"] == "web.refused"] == ["rate"]
        # Another one behind the same proxy has its own allowance.
        status, _ = await site.post("/twilio/voice", fields(), X_Forwarded_For="198.51.100.7")
        assert status == 200


async def test_what_is_refused_too_early_closes_the_connection(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    smuggled = b"POST /twilio/voice HTTP/1.1\r\nHost: x\r\n\r\n"
    writer.write(
        b"POST /twilio/voice HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
        + b"Content-Length: %d\r\n\r\n" % len(smuggled)
        + smuggled
    )
    answered = await reader.read()
    assert answered.count(b"HTTP/1.1 ") == 1
    assert b"HTTP/1.1 415" in answered
    writer.close()


async def test_a_refusal_names_the_url_that_was_checked(site: Site) -> None:
    target = f"/twilio/voice?{urlencode({'tenant': 'acme'})}"
    with capture_logs() as logs:
        await site.post(target, fields(), url=f"http://127.0.0.1:{site.port}{target}")
    (line,) = logs
    assert (line["event"], line["why"]) == ("web.refused", "wrong_signature")
    assert line["url"] == f"{PUBLIC}/twilio/voice?tenant=acme"
    assert f"TRUNKLINE_PUBLIC_URL=http://127.0.0.1:{site.port}" in line["hint"]
    assert line["source"] == "127.0.0.1"
