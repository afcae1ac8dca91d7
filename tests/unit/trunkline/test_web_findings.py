"""The doctor looks at the web side."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from trunkline.doctor import examine
from trunkline.finding import Finding
from trunkline.settings import Settings, load_settings
from trunkline.web_findings import unreached, web_findings

ACCOUNT = "AC" + "0" * 32
URL = "https://voice.example.com"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("TRUNKLINE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def settings(**given: object) -> Settings:
    return load_settings(**({"web_listen": "127.0.0.1:0"} | given))


async def here(_: str) -> str | None:
    return None


async def findings(**given: object) -> dict[str, Finding]:
    return {finding.what: finding for finding in await web_findings(settings(**given), here)}


async def test_nothing_is_said_where_carriers_are_not_listened_for() -> None:
    assert await web_findings(load_settings(), here) == []


async def test_all_is_set() -> None:
    found = await findings(
        public_url=URL, twilio_account_sid=ACCOUNT, twilio_auth_token="0123456789"
    )
    assert {finding.level for finding in found.values()} == {"ok"}
    assert found["web URL"].says == f"Twilio's webhook is {URL}/twilio/voice"
    assert ACCOUNT in found["Twilio"].says
    assert "0123456789" not in str(found)


@pytest.mark.parametrize(
    ("given", "what", "level", "says"),
    [
        ({}, "web URL", "warning", "without TRUNKLINE_PUBLIC_URL"),
        ({"public_url": "http://voice.example.com"}, "web URL", "bad", "write https"),
        (
            {"public_url": "http://127.0.0.1:8088", "twilio_unsigned": True},
            "web URL", "warning", "write https",
        ),
        ({}, "Twilio", "warning", "every webhook is refused"),
        ({"twilio_auth_token": "x"}, "Twilio", "warning", "none is transferred"),
        ({"twilio_unsigned": True}, "Twilio unsigned", "warning", "can make calls"),
    ],
)  # fmt: skip
async def test_what_is_lacking(given: dict[str, object], what: str, level: str, says: str) -> None:
    found = (await findings(**given))[what]
    assert found.level == level
    assert says in found.says


@pytest.mark.parametrize("given", [{"stream_key": "0123456789abcdef"}, {"twilio_unsigned": True}])
async def test_whoever_wants_no_twilio_is_not_told_of_its_token(given: dict[str, object]) -> None:
    assert "Twilio" not in await findings(**given)


async def test_a_public_url_that_leads_nowhere() -> None:
    async def nowhere(url: str) -> str | None:
        return f"nobody at {url}"

    found = {one.what: one for one in await web_findings(settings(public_url=URL), nowhere)}
    assert found["public URL"].level == "warning"
    assert f"{URL}/health: nobody at {URL}" in found["public URL"].says


async def test_the_port_is_looked_at_too() -> None:
    sip_and_http = {"sip_listen": "udp:127.0.0.1:0", "http_listen": "127.0.0.1:0"}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = await examine(settings(web_listen=f"127.0.0.1:{port}", **sip_and_http))
    [web_port] = [finding for finding in found if finding.what == "web port"]
    assert web_port.bad
    assert "set TRUNKLINE_WEB_LISTEN" in web_port.says
    found = await examine(settings(**sip_and_http))
    assert [finding.level for finding in found if finding.what == "web port"] == ["ok"]


async def test_who_answers_behind_the_public_url() -> None:
    async def ours(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def long(_: web.Request) -> web.Response:
        return web.Response(text="x" * 100_000)

    app = web.Application()
    app.add_routes([web.get("/ours/health", ours), web.get("/other/health", long)])
    async with TestServer(app) as server:
        base = str(server.make_url("")).rstrip("/")
        assert await unreached(f"{base}/ours") is None
        assert await unreached(f"{base}/other") == "somebody else answers, with 200"
        assert await unreached(f"{base}/gone") == "somebody else answers, with 404"
    assert "Cannot connect" in (await unreached(base) or "")
