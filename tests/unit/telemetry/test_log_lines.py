"""Every line says who wrote it and for which call, whoever's logger it came from."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Iterator

import pytest
import structlog

from telemetry.log import bind_call, configure, get_logger


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_role_pid_and_call_when_nobody_watches() -> None:
    stream = io.StringIO()
    configure("asr", stream=stream)
    with bind_call("20260101t000000-abcdef01"):
        get_logger("workers.asr").info("turn.ended", turn=3)
    get_logger("workers.asr").info("idle")

    first, second = lines(stream)
    assert first["event"] == "turn.ended"
    assert first["turn"] == 3
    assert first["role"] == "asr"
    assert first["pid"] == os.getpid()
    assert first["call"] == "20260101t000000-abcdef01"
    assert first["level"] == "info"
    assert "call" not in second


def test_the_standard_librarys_loggers_speak_the_same_format() -> None:
    stream = io.StringIO()
    configure("admin", stream=stream)
    with bind_call("20260101t000000-abcdef01"):
        logging.getLogger("uvicorn.error").warning("port %d is busy", 8080)

    (line,) = lines(stream)
    assert line["event"] == "port 8080 is busy"
    assert line["role"] == "admin"
    assert line["call"] == "20260101t000000-abcdef01"
    assert line["logger"] == "uvicorn.error"


def test_an_exception_is_kept_whole_on_one_line() -> None:
    stream = io.StringIO()
    configure("llm", stream=stream)
    try:
        int("eleven")
    except ValueError:
        get_logger("workers.llm").exception("reply.failed")

    (line,) = lines(stream)
    assert line["exception"][0]["exc_type"] == "ValueError"  # type: ignore[index]


def test_the_level_is_kept() -> None:
    stream = io.StringIO()
    configure("tts", level="warning", stream=stream)
    get_logger("workers.tts").info("quiet")
    get_logger("workers.tts").error("loud")

    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_console_lines_are_for_people() -> None:
    stream = io.StringIO()
    configure("sip", fmt="console", stream=stream)
    get_logger("ingress_sip").info("listening", port=5060)

    text = stream.getvalue()
    assert "listening" in text
    assert "port=5060" in text
    assert not text.startswith("{")
