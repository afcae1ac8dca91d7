"""Pages from templates: the environment, and how times, lengths and endings are written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.responses import HTMLResponse

from admin import wording
from calls.ending import FAULTS, Ending
from storage.turns import SAMPLES_PER_MS

HERE = Path(__file__).parent

#: A stage's name for people, by its name in `calls.timing.STAGES`.
STAGE_NAMES = {
    "endpoint": "End-of-turn wait",
    "asr": "Final transcript",
    "llm_queue": "Wait for LLM",
    "llm_first_token": "First token",
    "llm_sentence": "First sentence",
    "tts_queue": "Wait for TTS",
    "tts_first_audio": "First audio",
    "playout": "Playout",
}
#: Functions of wording.py that templates use as filters.
_WORDINGS = (
    "action", "ending", "guesses", "mos", "mos_tone", "ms", "murmur", "outcome", "outcome_tone",
    "person", "reachable_tone", "registration_tone", "turn_end", "words",
)  # fmt: skip


class Pages:
    """Renders templates. Every value is escaped: callers say what they like.

    Args:
        version: of Trunkline; shown at the foot, and renews cached style sheets.
    """

    def __init__(self, version: str) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=select_autoescape(default=True, default_for_string=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(
            version=version,
            stage_names=STAGE_NAMES,
            aside_reasons=wording.ASIDE_REASONS,
            registrations=wording.REGISTRATIONS,
            reachability=wording.REACHABILITY,
            endings=tuple(Ending),
        )
        self._environment.filters.update(
            moment=moment,
            length=length,
            place=place,
            at=at,
            ending_tone=ending_tone,
            **{name: getattr(wording, name) for name in _WORDINGS},
            compact=compact,
        )

    def page(
        self,
        template: str,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        **values: Any,
    ) -> HTMLResponse:
        """Render a page; an undefined name in a template is an error."""
        html = self._environment.get_template(template).render(**values)
        return HTMLResponse(html, status_code=status, headers=headers)


def moment(at: datetime) -> str:
    """`2026-09-21 12:00:31`, UTC."""
    return f"{at:%Y-%m-%d %H:%M:%S}"


def length(duration_ms: float) -> str:
    """`1:05`, or `1:02:03` from an hour on."""
    minutes, seconds = divmod(round(duration_ms / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def place(position: int) -> str:
    """A place on the media clock (samples at 8000 Hz) as `1:05.3`."""
    tenths = position // (SAMPLES_PER_MS * 100)
    return f"{tenths // 600}:{tenths // 10 % 60:02}.{tenths % 10}"


#: Endings of conversations that came to their end.
_MEANT = frozenset({Ending.CALLER_HUNG_UP, Ending.AGENT_HUNG_UP, Ending.TRANSFERRED})


def ending_tone(ending: str | None) -> str:
    """The badge's class: live, good, bad, or plain for what is neither."""
    if ending is None:
        return "live"
    if ending in FAULTS:
        return "bad"
    return "good" if ending in _MEANT else "plain"


def at(epoch_ms: float) -> datetime:
    """A time of the bus, UTC."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)


def compact(payload: Mapping[str, Any]) -> str:
    """JSON on one line; the agent is shown elsewhere on the page."""
    shown = {name: value for name, value in payload.items() if name != "agent"}
    return json.dumps(shown, ensure_ascii=False) if shown else ""
