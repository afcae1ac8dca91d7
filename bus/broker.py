"""How a process gets onto the bus: one raw client, one FastStream broker, the typed topics.

redis-py retries a dropped connection itself, with back-off, for about ten seconds, before an error
reaches us: FastStream answers any error with a hard-coded pause of 5 s (docs/adr/0003).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Final

from faststream.redis import RedisBroker
from faststream.redis.publisher.usecase import StreamPublisher
from faststream.redis.schemas import StreamSub
from redis.asyncio import Redis
from redis.asyncio.connection import ConnectionPool
from redis.exceptions import RedisError

from bus import topics
from bus.connection import connection_options, without_password
from bus.jobs import AnswerTurn, CallChanged, HearCall, PlaceCall, RecordCall, SpeakSentence

#: Longest time a read blocks on the server, ms.
BLOCK_MS: Final = 1000

#: What a caller of this package may see when the bus is away for longer than the retries last.
BusError = RedisError


class BusUnavailableError(Exception):
    """The bus did not answer. The text is for people, and holds no password.

    Start Redis (6.2 or newer) or Valkey at the URL named, or mend TRUNKLINE_BUS_URL.
    """


def connect(url: str) -> Redis:
    """A client of the bus; nothing is sent yet. Values are bytes.

    Raises:
        ValueError: not a redis://, rediss:// or unix:// URL.
    """
    return Redis.from_pool(ConnectionPool(**connection_options(url), protocol=2))


async def check(url: str) -> str:
    """Ask the server who it is, once: whoever waits for it can say so. Returns "redis 7.0.15".

    Raises:
        BusUnavailableError: it does not answer, or is too old for XAUTOCLAIM and MINID.
        ValueError: not a redis://, rediss:// or unix:// URL.
    """
    redis = Redis.from_pool(ConnectionPool(**connection_options(url, retries=0), protocol=2))
    try:
        info = await redis.info("server")
    except (RedisError, OSError) as error:
        reason = str(error).rstrip(".")
        raise BusUnavailableError(f"the bus {without_password(url)}: {reason}") from error
    finally:
        await redis.aclose()
    version = str(info.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2]) < (6, 2):
        raise BusUnavailableError(
            f"the bus {without_password(url)} is Redis {version}; 6.2 or newer is needed"
        )
    name = str(info.get("server_name", "redis"))
    return f"{name} {info.get('valkey_version', version)}"


@dataclass(frozen=True)
class Topics:
    """The typed topics, as FastStream publishers; their AsyncAPI is docs/asyncapi.yaml."""

    broker: RedisBroker
    hear: StreamPublisher
    answer: StreamPublisher
    speak: StreamPublisher
    record: StreamPublisher
    dial: StreamPublisher
    dial_twilio: StreamPublisher
    lifecycle: StreamPublisher

    @classmethod
    def of(cls, broker: RedisBroker) -> Topics:
        def queue(pool: topics.QueueName, schema: type, says: str) -> StreamPublisher:
            return broker.publisher(
                stream=StreamSub(topics.jobs(pool)), schema=schema, title=f"jobs-{pool}",
                description=says,
            )  # fmt: skip

        return cls(
            broker,
            hear=queue("asr", HearCall, "A call to listen to."),
            answer=queue("llm", AnswerTurn, "A turn to answer."),
            speak=queue("tts", SpeakSentence, "A sentence to speak."),
            record=queue("recorder", RecordCall, "An ended call to record."),
            dial=queue("dial", PlaceCall, "A call to place by SIP. Ask by bus/dialling.py."),
            dial_twilio=queue("dial_twilio", PlaceCall, "A call to have Twilio place."),
            lifecycle=broker.publisher(
                stream=StreamSub(topics.CALLS, maxlen=topics.CALLS_MAXLEN),
                schema=CallChanged,
                title="calls",
                description="Beginnings and ends of all calls, for whoever wants to know.",
            ),
        )


def make_broker(url: str, **options: Any) -> RedisBroker:
    """A FastStream broker on the bus. What it says of each message is for debugging.

    Handlers take what their subscriber's decoder gives and nothing else (`apply_types`): to inject
    the message, FastStream sends every job through a thread and back.
    """
    logger = logging.getLogger("faststream")
    return RedisBroker(
        url,
        logger=logger,
        log_level=logging.DEBUG,
        apply_types=False,
        **connection_options(url),
        **options,
    )
