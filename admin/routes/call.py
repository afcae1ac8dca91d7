"""One call: what was said and heard, how long each turn took and why, and its log."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from admin.finding import CallIdPath, Found, find_call
from admin.live import LiveCalls
from admin.pages import Pages
from admin.talk import exchanges, murmurs_since
from admin.timeline import Timeline, prepared, segments, slowest_turn_ms
from storage.record import CallRecord, EventRecord
from storage.repository import CallHistory


def router(history: CallHistory, live: LiveCalls, pages: Pages) -> APIRouter:
    """Give `/calls/{id}`, `/api/calls/{id}` and `/api/calls/{id}/events`."""
    routes = APIRouter()

    @routes.get("/calls/{call_id}", response_class=HTMLResponse)
    async def call_page(call_id: CallIdPath) -> HTMLResponse:
        return pages.page("call.html", **_shown(await find_call(history, live, call_id)))

    @routes.get("/api/calls/{call_id}")
    async def call_json(call_id: CallIdPath) -> CallRecord:
        return replace((await find_call(history, live, call_id)).call, events=())

    @routes.get("/api/calls/{call_id}/events")
    async def events_json(call_id: CallIdPath) -> tuple[EventRecord, ...]:
        return (await find_call(history, live, call_id)).call.events

    return routes


def _shown(found: Found) -> dict[str, Any]:
    call = found.call
    slowest = slowest_turn_ms(call.turns)
    return {
        "call": call,
        "is_kept": found.is_kept,
        "failures": [event for event in call.events if event.kind == "stage.failed"],
        "timeline": Timeline.of(call),
        "exchanges": [
            (each, segments(each.turn, slowest), prepared(each.turn, slowest))
            for each in exchanges(call)
        ],
        "murmurs": murmurs_since(call),
        "agent_json": json.dumps(call.agent, indent=2, ensure_ascii=False),
    }
