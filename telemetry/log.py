"""Structured log lines on stderr: one event per line, with role, pid and call on every line.

The standard library's loggers (uvicorn's, redis-py's, SQLAlchemy's) go through the same renderer,
so a process speaks one format. JSON when stderr is not a terminal, readable columns when it is.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TextIO

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

Format = Literal["auto", "json", "console"]

#: Libraries whose INFO lines say what ours already say, once per request or statement.
_CHATTY = ("faststream", "uvicorn.access", "httpx", "httpx2", "openai", "aiosqlite", "alembic")

#: Without local variables: they may hold a password, a key, or a caller's words.
_TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


def configure(
    role: str, *, level: str = "info", fmt: Format = "auto", stream: TextIO | None = None
) -> None:
    """Route this process's log lines. Call it once, before the first line; again replaces it.

    Args:
        role: The process's role ("sip", "asr", ...), bound on every line beside `pid`.
        level: "debug", "info", "warning" or "error".
        fmt: "auto" writes JSON unless the stream is a terminal.
        stream: Where the lines go; stderr when absent, because stdout belongs to the user.
    """
    out = stream or sys.stderr
    json = fmt == "json" or (fmt == "auto" and not out.isatty())
    process = {"role": role, "pid": os.getpid()}

    def drop_color(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.pop("color_message", None)  # uvicorn says everything twice
        return event

    def add_process(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {**process, **event}

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        add_process,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        drop_color,
        structlog.processors.TimeStamper(fmt="iso", utc=json),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: list[Processor] = (
        [_TRACEBACKS, structlog.processors.JSONRenderer(default=str)]
        if json
        else [
            structlog.dev.ConsoleRenderer(
                colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        # A logger made before configure() must still follow it, and tests configure twice.
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _CHATTY:
        library = logging.getLogger(name)
        library.setLevel(max(logging.WARNING, root.level))
        library.handlers.clear()  # FastStream brings one that writes to stdout
        library.propagate = True
    logging.captureWarnings(capture=True)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module: `log = get_logger(__name__)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


@contextmanager
def bind_call(call_id: str) -> Iterator[None]:
    """Bind `call` on every line that this task, and the tasks it starts, write inside."""
    with structlog.contextvars.bound_contextvars(call=call_id):
        yield
