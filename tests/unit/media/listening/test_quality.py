from __future__ import annotations

import pytest

from media.encoding import Encoding
from media.listening.quality import (
    G711_WITHOUT_PLC,
    OF_CODEC,
    burst_ratio,
    mean_opinion_score,
    r_factor,
)


def test_a_perfect_call_has_the_default_rating() -> None:
    assert r_factor(loss=0.0) == pytest.approx(93.2)
    assert mean_opinion_score(93.2) == pytest.approx(4.41, abs=0.01)


@pytest.mark.parametrize(("r", "mos"), [(90, 4.34), (80, 4.03), (70, 3.60), (60, 3.10), (50, 2.58)])
def test_mos_is_that_of_g107_table_b1(r: float, mos: float) -> None:
    assert mean_opinion_score(r) == pytest.approx(mos, abs=0.01)


def test_mos_stays_on_its_scale() -> None:
    assert mean_opinion_score(-5) == 1.0
    assert mean_opinion_score(0.5) == 1.0
    assert mean_opinion_score(150) == 4.5


def test_loss_is_weighed_by_codec_and_burst() -> None:
    # G.107 equation 7-29 by hand: 95 * 5 / (5 + 25.1) and, in bursts, 95 * 5 / (5 / 2 + 25.1).
    assert r_factor(loss=0.05) == pytest.approx(93.2 - 15.781, abs=0.01)
    assert r_factor(loss=0.05, burst_ratio=2.0) == pytest.approx(93.2 - 17.210, abs=0.01)
    assert r_factor(loss=0.05, codec=G711_WITHOUT_PLC) == pytest.approx(93.2 - 51.075, abs=0.01)
    assert r_factor(loss=1.0, one_way_ms=1000) == 0.0


def test_delay_hurts_more_beyond_177_ms() -> None:
    assert r_factor(loss=0, one_way_ms=100) == pytest.approx(93.2 - 2.4)
    assert r_factor(loss=0, one_way_ms=277.3) == pytest.approx(93.2 - 6.6552 - 11.0)


def test_random_loss_is_no_burst() -> None:
    assert burst_ratio(lost=0, bursts=0, expected=100) == 1.0
    assert burst_ratio(lost=10, bursts=9, expected=100) == pytest.approx(1.0)
    assert burst_ratio(lost=10, bursts=2, expected=100) == pytest.approx(4.5)
    assert burst_ratio(lost=100, bursts=1, expected=100) == 1.0


def test_a_codec_with_a_memory_suffers_more_from_loss() -> None:
    for loss in (0.02, 0.1):
        plain, opus, wide = (
            r_factor(loss=loss, codec=OF_CODEC[codec])
            for codec in (Encoding.PCMU, Encoding.OPUS, Encoding.G722)
        )
        assert plain > opus > wide
    assert len({r_factor(loss=0.0, codec=OF_CODEC[codec]) for codec in Encoding}) == 1
