"""A web ingress in this process, on a real bus, and whoever would open streams to it."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, TCPConnector, web

from bus.session import BusSession
from calls.agent import Agents
from ingress_web.actions import Actions
from ingress_web.app import make_app
from ingress_web.carriers.twiml import TOKEN
from ingress_web.door import Offer
from ingress_web.gate import Gate
from ingress_web.proxies import Proxies
from ingress_web.rate import RequestRate
from ingress_web.reception import Reception, StreamKeys
from ingress_web.server import WebConfig, WebServer
from ingress_web.streams import Streams
from ingress_web.tokens import StreamTokens
from tests.support.twilio import Clock

ACCOUNT = "AC" + "0" * 32
KEY = "a key of sixteen or more"
SPEECH = base64.b64encode(bytes([0x10]) * 160).decode()
AGENTS = Agents.model_validate(
    {
        "agents": [
            {
                "name": "silent",
                "numbers": ["*"],
                "greeting": "",
                "asr": {"provider": "none"},
                "llm": {"provider": "none"},
                "tts": {"provider": "none"},
            }
        ]
    }
)


def sid(number: int) -> str:
    """A call's id at Twilio."""
    return f"CA{number:032x}"


class Ingress:
    """The ingress, as seen from outside; its tokens' clock is held by the test."""

    def __init__(self, server: WebServer, reception: Reception, tokens: StreamTokens) -> None:
        self.server, self.reception, self.tokens = server, reception, tokens
        self.clock = Clock()
        self.url = ""
        self.http: ClientSession

    async def token(self, number: int = 1) -> str:
        """Have the webhook admit a call. Returns its stream's token."""
        call = sid(number)
        offer = Offer(
            carrier="twilio", call=call, account=ACCOUNT, caller="+15550111", called="+15550100"
        )
        assert await self.reception.admit(offer) is None
        return self.tokens.issue(call, ACCOUNT)

    async def stream(self, path: str = "/twilio/media", **options: Any) -> ClientWebSocketResponse:
        return await self.http.ws_connect(self.url + path, autoclose=True, **options)

    async def call(self, number: int = 1) -> ClientWebSocketResponse:
        """A call that is carried."""
        socket = await self.stream()
        await socket.send_str(start(number, await self.token(number)))
        await socket.send_str(media(1, number))
        await self.carried(number)
        return socket

    async def carried(self, number: int = 1) -> None:
        """Wait until the call is carried and was heard."""
        async with asyncio.timeout(10):
            while (call := self.server.of("twilio", sid(number))) is None or not (
                call.is_open and call.stream.heard_ms
            ):
                await asyncio.sleep(0.005)


def start(number: int = 1, token: str = "", **changes: Any) -> str:
    said: dict[str, Any] = {
        "accountSid": ACCOUNT,
        "streamSid": f"MZ{number:032x}",
        "callSid": sid(number),
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {TOKEN: token} if token else {},
    }
    return json.dumps(
        {
            "event": "start",
            "sequenceNumber": "1",
            "start": {**said, **changes},
            "streamSid": said["streamSid"],
        }
    )


def media(chunk: int, number: int = 1, payload: str = SPEECH) -> str:
    return json.dumps(
        {
            "event": "media",
            "sequenceNumber": str(chunk + 1),
            "media": {
                "track": "inbound",
                "chunk": str(chunk),
                "timestamp": str((chunk - 1) * 20),
                "payload": payload,
            },
            "streamSid": f"MZ{number:032x}",
        }
    )


@pytest.fixture
async def ingress(session: BusSession) -> AsyncIterator[Ingress]:
    server = WebServer(
        WebConfig(drain_s=0.0, reconnect_s=1.0), AGENTS, session, now_ms=lambda: time.time() * 1000
    )
    actions = server.doer = Actions(server, {})
    clock = Clock()
    tokens = StreamTokens(b"a key", clock=clock)
    keys = StreamKeys(tokens, KEY)
    reception = Reception(server, actions, keys, asyncio.get_running_loop().time)
    found = Ingress(server, reception, tokens)
    found.clock = clock
    gate = Gate(Proxies(), RequestRate(10_000.0))
    streams = Streams(server, reception.judge, gate, rate=100.0)
    runner = web.AppRunner(make_app(server, streams, ()), handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await server.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with ClientSession(connector=TCPConnector(limit=0)) as http:
        found.http = http
        yield found
    await server.drain()
    await runner.cleanup()
    await server.stop()
