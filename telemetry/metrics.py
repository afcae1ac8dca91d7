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
OUTBOUND = Counter(
    "pipeline_outbound_calls_total",
    "Outbound calls that are over, by their ending, and those not_placed.",
    ["ending"],
)
CALLS_REFUSED = Counter(
    "pipeline_calls_refused_total",
    "INVITEs refused: lines, pool_full, pool_late, pool_missing, ports, bus, no_agent, media, "
    "policy (the trunks' file).",
    ["reason"],
)
SIP_DROPPED = Counter(
    "pipeline_sip_dropped_total",
    "SIP messages that got no answer: rate, beginnings (too many of them), unknown (the caller).",
    ["reason"],
)
WEB_REFUSED = Counter(
    "pipeline_web_refused_total",
    "Webhooks and media streams that were refused, by why: unsigned, wrong_signature, replay, "
    "bad_form, rate, token, ...",
    ["reason"],
)
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
SPEECH_DROPPED = Counter(
    "pipeline_speech_dropped_total",
    "Stretches of speech that were no turn: no_words, noise, backchannel.",
    ["why"],
)
GUESSES = Counter(
    "pipeline_guesses_total",
    "Guesses at the end of a turn with a reply prepared: made, then confirmed or withdrawn.",
    ["outcome"],
)
GUESSES_WASTED = Counter(
    "pipeline_guesses_wasted_audio_seconds_total",
    "Speech that was synthesized for a guess, and never heard.",
)
ASIDES = Counter(
    "pipeline_asides_total",
    "What was said beside the answer: filler, trouble, reprompt, goodbye, apology, "
    "transfer_failed.",
    ["why"],
)
ACTIONS = Counter(
    "pipeline_actions_total",
    "What agents had done: hangup, transfer, send_digits; done, failed or (asked wrongly) refused.",
    ["action", "outcome"],
)
BARGE_INS = Counter(
    "pipeline_barge_ins_total",
    "Times that the caller stopped the agent, and whether it went on: resumed, dropped.",
    ["outcome"],
)
POOL_LAG = Gauge("pipeline_pool_lag", "Jobs of a pool that wait for a worker.", ["pool"])
POOL_OWNED = Gauge("pipeline_pool_owned", "Jobs that this process owns now.", ["pool"])
POOL_CAPACITY = Gauge(
    "pipeline_pool_capacity",
    "Jobs that a pool's live processes can own, as an ingress sees it.",
    ["pool"],
)
TAKE_OVERS = Counter(
    "pipeline_take_overs_total", "Jobs taken over from a worker that died or drained.", ["pool"]
)
SPEECH_CACHE_LOOKUPS = Counter(
    "pipeline_speech_cache_lookups_total",
    "Sentences looked for in the cache of speech.",
    ["result"],  # hit or miss
)
SPEECH_CACHE_EVICTIONS = Counter(
    "pipeline_speech_cache_evictions_total", "Sentences that left the cache for newer ones."
)
SPEECH_CACHE_BYTES = Gauge(
    "pipeline_speech_cache_bytes", "Audio in the cache, as this process's last write found it."
)
PLAYBACK_GAPS = Counter(
    "pipeline_playback_gaps_total", "Times that a sentence's next audio was not there in time."
)
PROVIDER_BREAKER = Gauge(
    "pipeline_provider_breaker",
    "Is a provider asked? 0: yes (closed), 1: one attempt probes it (half open), 2: no (open).",
    ["stage", "provider"],
)
PROVIDER_FAILURES = Counter(
    "pipeline_provider_failures_total",
    "Attempts that a provider did not answer; a retry or a stand-in may have.",
    ["stage", "provider", "error_type"],
)
PROVIDER_RETRIES = Counter(
    "pipeline_provider_retries_total",
    "Times that a provider was asked again.",
    ["stage", "provider"],
)
PROVIDER_FALLBACKS = Counter(
    "pipeline_provider_fallbacks_total", "Times that a stand-in was asked.", ["stage", "provider"]
)
TICKER_LAG = Histogram(
    "pipeline_ticker_lag_seconds", "How late a 20 ms tick of the ingress ran.", buckets=_TICK_S
)
LOGS_RESTORED = Counter(
    "pipeline_logs_restored_total", "Logs of live calls that the bus had lost, written anew."
)
TRUNK_REGISTERED = Gauge(
    "trunkline_trunk_registered", "Are we registered at the trunk? 1 or 0.", ["trunk"]
)
TRUNK_REACHABLE = Gauge(
    "trunkline_trunk_reachable",
    "Does the trunk answer, at any of its addresses? 1 or 0.",
    ["trunk"],
)
TRUNK_CALLS = Gauge(
    "trunkline_trunk_calls",
    "Calls of a trunk in this ingress process now: inbound, outbound.",
    ["trunk", "direction"],
)
