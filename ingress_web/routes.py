"""The webhooks' routes, for an aiohttp application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from ingress_web.carriers import twiml
from ingress_web.carriers.twilio_webhook import TwilioWebhook
from ingress_web.gate import Gate
from ingress_web.webhooks import Answer, Request

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_NO_CONTENT: Final = 204


def twilio_routes(webhook: TwilioWebhook, gate: Gate) -> list[web.RouteDef]:
    """Twilio's four webhooks. By other methods than POST they are answered 405."""

    async def connected(request: Request) -> Answer:
        return webhook.connected(request)

    async def dialled(request: Request) -> Answer:
        return webhook.dialled(request)

    async def status(request: Request) -> Answer:
        return webhook.status(request)

    return [
        web.post(twiml.VOICE, _handler(gate, webhook.voice)),
        web.post(twiml.CONNECTED, _handler(gate, connected)),
        web.post(twiml.DIALLED, _handler(gate, dialled)),
        web.post(twiml.STATUS, _handler(gate, status)),
    ]


def _handler(gate: Gate, answer: Callable[[Request], Awaitable[Answer]]) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        answered = await answer(await gate.read(request))
        if answered.status == _NO_CONTENT:
            return web.Response(status=answered.status)
        return web.Response(
            status=answered.status,
            text=answered.body,
            content_type=answered.content_type,
            charset="utf-8",
        )

    return handle
