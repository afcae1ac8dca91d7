"""The names Prometheus finds, and the two pages that serve them."""

from __future__ import annotations

import asyncio

from prometheus_client import REGISTRY, generate_latest

from telemetry import metrics
from telemetry.endpoint import MetricsEndpoint, serve


async def get(endpoint: MetricsEndpoint, request: bytes) -> tuple[str, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
    writer.write(request)
    writer.write_eof()
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    return head.partition("\r\n")[0], body


def test_every_metric_that_dashboards_rely_on_has_its_name() -> None:
    metrics.CALLS.labels(carrier="sip", ending="caller_hung_up")
    metrics.ERRORS.labels(stage="asr", error_type="timeout")
    metrics.AUDIO_CHUNKS.labels(stage="ingress", direction="in")
    metrics.TAKE_OVERS.labels(pool="asr")
    metrics.POOL_LAG.labels(pool="asr")
    metrics.POOL_OWNED.labels(pool="asr")
    metrics.STAGE_DURATION.labels(stage="asr")
    exposed = generate_latest(REGISTRY).decode()
    for sample in (
        "pipeline_calls_active ",
        'pipeline_calls_total{carrier="sip",ending="caller_hung_up"}',
        'pipeline_stage_duration_seconds_bucket{le="0.001",stage="asr"}',
        "pipeline_e2e_duration_seconds_count",
        'pipeline_errors_total{error_type="timeout",stage="asr"}',
        'audio_chunks_processed_total{direction="in",stage="ingress"}',
        "vad_speech_segments_total ",
        'pipeline_pool_lag{pool="asr"}',
        'pipeline_pool_owned{pool="asr"}',
        'pipeline_take_overs_total{pool="asr"}',
        "pipeline_playback_gaps_total ",
        "pipeline_ticker_lag_seconds_count",
    ):
        assert f"\n{sample}" in exposed, sample


async def test_metrics_and_health_are_served_on_a_free_port() -> None:
    trouble: list[str] = []
    endpoint = await serve("127.0.0.1", 0, health=lambda: trouble[0] if trouble else None)
    try:
        status, body = await get(endpoint, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert status == "HTTP/1.1 200 OK"
        assert "pipeline_calls_active" in body

        assert await get(endpoint, b"GET /health HTTP/1.0\r\n\r\n") == ("HTTP/1.1 200 OK", "ok\n")
        trouble.append("bus is away")
        status, body = await get(endpoint, b"GET /health HTTP/1.0\r\n\r\n")
        assert status == "HTTP/1.1 503 Service Unavailable"
        assert body == "bus is away\n"

        status, _ = await get(endpoint, b"POST /metrics HTTP/1.0\r\n\r\n")
        assert status == "HTTP/1.1 405 Method Not Allowed"
        status, _ = await get(endpoint, b"GET /etc/passwd HTTP/1.0\r\n\r\n")
        assert status == "HTTP/1.1 404 Not Found"
    finally:
        await endpoint.close()


async def test_what_is_not_http_is_hung_up_on() -> None:
    endpoint = await serve("127.0.0.1", 0)
    try:
        assert await get(endpoint, b"\x16\x03\x01 not http") == ("", "")
        assert await get(endpoint, b"G" * 20_000) == ("", "")
    finally:
        await endpoint.close()
