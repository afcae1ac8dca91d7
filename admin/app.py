"""The dashboard's application, put together."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.sessions import SessionMiddleware
from starlette.staticfiles import StaticFiles

from admin.gate import Doorkeeper, Gate
from admin.live import LiveCalls
from admin.pages import HERE, Pages
from admin.routes import call, calls, health, login, recording, trunks
from admin.security import HEADERS, Hardening
from storage.errors import DatabaseUnavailableError
from storage.repository import CallHistory

SESSION_S = 12 * 3600

log = structlog.get_logger(__name__)


def create_app(
    *,
    history: CallHistory,
    live: LiveCalls,
    recordings: Path,
    password_hash: str,
    session_secret: str,
    ready: Callable[[], Awaitable[health.Checks]],
    version: str,
    secure_cookies: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> FastAPI:
    """Build the dashboard.

    Args:
        history: past calls.
        live: calls that are not in the history yet.
        recordings: the directory that recordings' paths are relative to.
        password_hash: of `passwords.first_password` or `passwords.hash_password`.
        session_secret: of `passwords.session_secret`.
        ready: what must be well for this process to be of use (routes/health.py).
        version: of Trunkline.
        secure_cookies: send the session over https only; set it when a proxy ends TLS before us.
        clock: s, for the login throttle.
    """
    pages = Pages(version)
    doorkeeper = Doorkeeper(password_hash, session_secret, clock)
    app = FastAPI(title="Trunkline", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(health.router(ready))
    app.include_router(login.router(doorkeeper, pages))
    app.include_router(calls.router(history, live, pages))
    app.include_router(call.router(history, live, pages))
    app.include_router(trunks.router(live, pages))
    app.include_router(recording.router(history, recordings))
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")

    # From the inside out.
    app.add_middleware(Gate, doorkeeper=doorkeeper)
    app.add_middleware(
        SessionMiddleware,
        secret_key=session_secret,
        session_cookie="trunkline",
        max_age=SESSION_S,
        same_site="lax",
        https_only=secure_cookies,
    )
    app.add_middleware(Hardening)
    _explain_errors(app, pages)
    return app


def _explain_errors(app: FastAPI, pages: Pages) -> None:
    """Answer what went wrong as a page or as JSON, and never with a trace."""

    def explain(request: Request, status: int, detail: str) -> Response:
        if request.url.path.startswith("/api/") or "text/html" not in request.headers.get(
            "accept", ""
        ):
            return JSONResponse({"error": detail}, status_code=status)
        title = HTTPStatus(status).phrase
        return pages.page("error.html", status=status, title=title, detail=detail)

    @app.exception_handler(DatabaseUnavailableError)
    async def database_is_down(request: Request, error: DatabaseUnavailableError) -> Response:
        log.warning("database unavailable", path=request.url.path, reason=str(error))
        return explain(request, 503, f"The call history cannot be read now: {error}")

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return explain(request, error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def not_understood(request: Request, error: RequestValidationError) -> Response:
        wrong = ", ".join(str(part["loc"][-1]) for part in error.errors())
        return explain(request, 422, f"not understood: {wrong}")

    @app.exception_handler(Exception)
    async def broken(request: Request, _error: Exception) -> Response:
        response = explain(request, 500, "This is our mistake; the process's log says which.")
        # Starlette answers these outside all middleware.
        response.headers.update(HEADERS)
        return response
