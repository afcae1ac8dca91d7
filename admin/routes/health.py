"""What other programs ask: is it alive, is it ready, how is it doing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

#: What must be well for us to be ready, by name: True, or False, or a text that says what is wrong.
Checks = Mapping[str, bool | str]


def router(
    ready: Callable[[], Awaitable[Checks]], registry: CollectorRegistry = REGISTRY
) -> APIRouter:
    """Give `/health` (the process answers), `/ready` (so do its peers) and `/metrics`."""
    routes = APIRouter()

    @routes.get("/health")
    async def alive() -> dict[str, str]:
        return {"status": "ok"}

    @routes.get("/ready")
    async def is_ready() -> JSONResponse:
        checks = await ready()
        well = all(check is True for check in checks.values())
        body = {"ready": well, "checks": dict(checks)}
        return JSONResponse(body, status_code=200 if well else 503)

    @routes.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return routes
