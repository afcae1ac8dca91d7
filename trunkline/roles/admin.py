"""Shows."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import version
from typing import Any, TypeVar

import uvicorn

from admin.app import create_app
from admin.live import LiveCallsUnavailableError
from admin.passwords import first_password, hash_password, session_secret
from bus.broker import BusError
from bus.live import LiveCalls
from bus.session import BusSession
from bus.trunk_state import Lines
from calls.conversation import Conversation
from calls.events import Event
from calls.ids import CallId
from storage.errors import DatabaseUnavailableError
from storage.repository import CallHistory
from storage.session import Database
from trunkline.errors import UserError
from trunkline.roles.database import open_database
from trunkline.roles.running import Running
from trunkline.settings import Settings

Answer = TypeVar("Answer")


class _LiveCalls:
    """The bus's live calls, as the dashboard's port wants them."""

    def __init__(self, session: BusSession) -> None:
        self._live = LiveCalls(session.log, session.folds, session.presence)
        self._trunks = session.trunks

    async def calls(self) -> list[Conversation]:
        return await self._ask(self._live.calls())

    async def conversation(self, call_id: CallId) -> Conversation | None:
        return await self._ask(self._live.conversation(call_id))

    async def events(self, call_id: CallId) -> list[Event]:
        return await self._ask(self._live.events(call_id))

    async def lines(self) -> Lines:
        return await self._ask(self._trunks.lines())

    async def _ask(self, question: Awaitable[Answer]) -> Answer:
        try:
            return await question
        except BusError as error:
            raise LiveCallsUnavailableError(str(error)) from error


@asynccontextmanager
async def start(settings: Settings, session: BusSession) -> AsyncIterator[Running]:
    async with open_database(settings) as database:
        given = settings.admin_password
        plain: str | None = None
        if given is not None:
            hashed = hash_password(given.get_secret_value())
        else:
            hashed, plain = first_password(settings.data_dir)

        async def ready() -> dict[str, bool | str]:
            return {"bus": await _answers(session), "database": await _is_there(database)}

        app = create_app(
            history=CallHistory(database),
            live=_LiveCalls(session),
            recordings=settings.recordings_dir,
            password_hash=hashed,
            session_secret=session_secret(settings.data_dir),
            ready=ready,
            version=version("trunkline"),
        )
        async with _served(app, settings.http_listen.host, settings.http_listen.port) as url:
            addresses: dict[str, object] = {"http": url}
            if plain is not None:
                addresses["password"] = plain
            yield Running(addresses)


@asynccontextmanager
async def _served(app: Any, host: str, port: int) -> AsyncIterator[str]:
    """Serve an ASGI app; yields its URL."""
    try:
        listener = socket.create_server((host, port), reuse_port=False)
    except OSError as error:
        raise UserError(
            f"cannot listen on {host}:{port}: {error}; free the port or set TRUNKLINE_HTTP_LISTEN"
        ) from error
    config = uvicorn.Config(
        app, log_config=None, log_level="warning", access_log=False, lifespan="off"
    )
    server = uvicorn.Server(config)
    server.capture_signals = _no_signals  # type: ignore[method-assign]  # ours decide
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="http")
    try:
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


@contextmanager
def _no_signals() -> Iterator[None]:
    yield


async def _answers(session: BusSession) -> bool | str:
    try:
        await session.redis.ping()
    except BusError as error:
        return f"the bus does not answer: {error}"
    return True


async def _is_there(database: Database) -> bool | str:
    try:
        await database.ping()
    except DatabaseUnavailableError as error:
        return str(error)
    return True
