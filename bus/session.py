"""A process's place on the bus: everything that speaks to it, opened and closed as one."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog
from faststream.redis import RedisBroker
from redis.asyncio import Redis

from bus.broker import BusUnavailableError, Topics, check, connect, make_broker
from bus.folds import Folds
from bus.log import CallLog
from bus.presence import Presence
from bus.speech import Speech
from bus.speech_cache import SpeechCache
from bus.tail import Tail
from bus.tasks import stop
from bus.trunk_state import TrunkStates

_log = structlog.get_logger(__name__)
_WAIT_S: Final = 1.0


@dataclass(frozen=True)
class BusSession:
    """What a role needs of the bus. `name` is unique among live processes."""

    name: str
    redis: Redis
    broker: RedisBroker
    topics: Topics
    log: CallLog
    folds: Folds
    tail: Tail
    presence: Presence
    trunks: TrunkStates
    speech: Speech
    cache: SpeechCache


def process_name() -> str:
    """This process's name on the bus: in containers, host and pid alone may repeat."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


@asynccontextmanager
async def open_session(url: str, name: str | None = None) -> AsyncIterator[BusSession]:
    """Open a session; a bus that is not there yet is waited for, and the log says so.

    The broker publishes at once; a pool adds its subscribers and starts them itself.
    """
    name = name or process_name()
    await _wait_for(url)
    redis = connect(url)
    broker = make_broker(url)
    topics = Topics.of(broker)
    await broker.start()
    log = CallLog(redis)
    tail = Tail(redis, name)
    reading = asyncio.create_task(tail.run(), name="bus tail")
    try:
        yield BusSession(
            name, redis, broker, topics, log, Folds(log, tail), tail, Presence(redis),
            TrunkStates(redis), Speech(redis), SpeechCache(redis),
        )  # fmt: skip
    finally:
        await stop(reading)
        await broker.stop()
        await redis.aclose()


async def _wait_for(url: str) -> None:
    while True:
        try:
            server = await check(url)
        except BusUnavailableError as error:
            _log.warning("bus.waiting", reason=str(error))
            await asyncio.sleep(_WAIT_S)
        else:
            _log.info("bus.connected", server=server)
            return
