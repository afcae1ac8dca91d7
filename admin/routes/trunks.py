"""The trunks and phones that calls come and go by, as the ingresses see them now."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from admin.live import LiveCalls, LiveCallsUnavailableError
from admin.pages import Pages
from bus.trunk_state import Lines


@dataclass(frozen=True, slots=True)
class LineList:
    """All lines, or why they cannot be told."""

    lines: Lines
    trouble: str | None = None


def router(live: LiveCalls, pages: Pages) -> APIRouter:
    """Give `/trunks` and `/api/trunks`."""
    routes = APIRouter()

    async def look() -> LineList:
        try:
            return LineList(await live.lines())
        except LiveCallsUnavailableError as error:
            return LineList(Lines(), str(error))

    @routes.get("/trunks", response_class=HTMLResponse)
    async def trunks_page() -> HTMLResponse:
        return pages.page("trunks.html", listed=await look())

    @routes.get("/api/trunks")
    async def trunks_json() -> LineList:
        return await look()

    return routes
