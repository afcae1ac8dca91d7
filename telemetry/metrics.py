"""What every process counts and times, for Prometheus. All times are in seconds.

One process, one registry: the objects below are the registry's, made once at import, and labelled
at use. `telemetry/endpoint.py` serves them.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

#: A turn's stages: from a local hand-over to a slow language model.
_STAGE_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2.5, 5, 10)
#: Voice to voice: people notice from 0.3 s on, and hang up long before 10 s.
_E2E_S = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 3, 5, 10)
#: The ticker's lag: a frame is 20 ms, and a phone's jitter buffer holds 40 to 60 ms.
_TICK_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.2, 1)

CALLS_ACTIVE = Gauge("pipeline_calls_active", "Calls that this ingress process carries now.")
CALLS = Counter("pipeline_calls_total", "Calls that are over.", ["carrier", "ending"])
STAGE_DURATION = Histogram(
    "pipeline_stage_duration_seconds",
    "One stage of a turn (calls/timing.py names them).",
    ["stage"],
    buckets=_STAGE_S,
)
E2E_DURATION = Histogram(
    "pipeline_e2e_duration_seconds",
    "Voice to voice: the caller's last spoken sample to the answer's first packet.",
    buckets=_E2E_S,
)
ERRORS = Counter("pipeline_errors_total", "What a stage could not do.", ["stage", "error_type"])
AUDIO_CHUNKS = Counter(
    "audio_chunks_processed_total",
    "Audio frames or chunks that a stage moved.",
    ["stage", "direction"],
)
SPEECH_SEGMENTS = Counter("vad_speech_segments_total", "Stretches of speech that the VAD found.")
POOL_LAG = Gauge("pipeline_pool_lag", "Jobs of a pool that wait for a worker.", ["pool"])
POOL_OWNED = Gauge("pipeline_pool_owned", "Jobs that this process owns now.", ["pool"])
TAKE_OVERS = Counter(
    "pipeline_take_overs_total", "Jobs taken over from a worker that died or drained.", ["pool"]
)
PLAYBACK_GAPS = Counter(
    "pipeline_playback_gaps_total", "Times that a sentence's next audio was not there in time."
)
TICKER_LAG = Histogram(
    "pipeline_ticker_lag_seconds", "How late a 20 ms tick of the ingress ran.", buckets=_TICK_S
)
