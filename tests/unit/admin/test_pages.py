from __future__ import annotations

import pytest

from admin import pages
from admin.pages import STAGE_NAMES
from calls.ending import FAULTS, Ending
from calls.timing import STAGES


def test_every_stage_has_a_name_and_an_order() -> None:
    assert tuple(STAGE_NAMES) == STAGES


def test_every_stage_has_a_colour() -> None:
    css = (pages.HERE / "static" / "style.css").read_text()
    assert [stage for stage in (*STAGES, "prepared") if f".s-{stage} {{" not in css] == []


@pytest.mark.parametrize("ending", Ending)
def test_only_faults_are_alarming(ending: Ending) -> None:
    assert (pages.ending_tone(ending) == "bad") == (ending in FAULTS)


def test_a_word_of_an_older_version_is_shown_too() -> None:
    assert pages.ending_tone("some_older_word") == "plain"


@pytest.mark.parametrize(
    ("duration_ms", "shown"), [(0, "0:00"), (65_400, "1:05"), (3_723_000, "1:02:03")]
)
def test_lengths(duration_ms: int, shown: str) -> None:
    assert pages.length(duration_ms) == shown


def test_places_are_cut_to_tenths_not_rounded_up() -> None:
    assert pages.place(8000 * 65 + 8000 * 399 // 1000) == "1:05.3"


def test_the_agent_is_not_shown_in_the_log() -> None:
    assert pages.compact({"agent": {"prompt": "long"}, "codec": "PCMU"}) == '{"codec": "PCMU"}'
    assert pages.compact({}) == ""
