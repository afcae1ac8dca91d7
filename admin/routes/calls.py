"""The list of calls: live ones on top, then the past, filtered and in pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import HTMLResponse

from admin.finding import live_list
from admin.live import LiveCalls
from admin.pages import Pages
from storage.record import CallSummary
from storage.repository import CallHistory, Cursor

PAGE = 50


@dataclass(frozen=True, slots=True)
class CallPage:
    """A page of past calls, newest first; `next` (the query's `before`) is None on the last."""

    calls: list[CallSummary]
    next: str | None


@dataclass(frozen=True, slots=True)
class CallList:
    """Live calls, or why they cannot be told, and a page of past ones."""

    live: list[CallSummary]
    live_trouble: str | None
    past: CallPage


class Wanted:
    """What the query asks for: `agent`, `ending`, `direction`, `text`; and `before`, where the page
    begins."""

    def __init__(
        self,
        agent: Annotated[str, Query(max_length=63)] = "",
        ending: Annotated[str, Query(max_length=63)] = "",
        direction: Annotated[str, Query(max_length=63)] = "",
        text: Annotated[str, Query(max_length=200)] = "",
        before: Annotated[str, Query(max_length=200)] = "",
    ) -> None:
        self.filters: Mapping[str, str] = {
            "agent": agent,
            "ending": ending,
            "direction": direction,
            "text": text.strip(),
        }
        try:
            self.before = Cursor.parse(before) if before else None
        except ValueError:
            raise HTTPException(400, "`before` is not what a page before this one gave") from None

    @property
    def is_filtered(self) -> bool:
        return any(self.filters.values())

    def query(self, before: str) -> str:
        """Write the query of the page after this one."""
        given = {name: value for name, value in self.filters.items() if value}
        return urlencode(given | {"before": before})


def router(history: CallHistory, live: LiveCalls, pages: Pages) -> APIRouter:
    """Give `/` and `/api/calls`."""
    routes = APIRouter()

    async def look(wanted: Wanted) -> CallList:
        filters = {name: value or None for name, value in wanted.filters.items()}
        # One more than is shown tells whether there is a next page.
        found = await history.list_calls(limit=PAGE + 1, before=wanted.before, **filters)
        past, more = found[:PAGE], len(found) > PAGE
        after = str(Cursor(past[-1].started_at, past[-1].id)) if more else None
        # Live calls are those of now: they stand before the first page of everything.
        if wanted.is_filtered or wanted.before:
            return CallList([], None, CallPage(past, after))
        now = await live_list(live)
        kept = {call.id for call in past}
        return CallList(
            [call for call in now.calls if call.id not in kept], now.trouble, CallPage(past, after)
        )

    @routes.get("/", response_class=HTMLResponse)
    async def calls_page(wanted: Annotated[Wanted, Depends()]) -> HTMLResponse:
        listed = await look(wanted)
        after = wanted.query(listed.past.next) if listed.past.next else None
        return pages.page(
            "calls.html",
            listed=listed,
            wanted=wanted,
            agents=await history.agents(),
            next_query=after,
        )

    @routes.get("/api/calls")
    async def calls_json(wanted: Annotated[Wanted, Depends()]) -> CallList:
        return await look(wanted)

    return routes
