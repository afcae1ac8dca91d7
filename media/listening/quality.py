"""How good a call sounded: the E-model's R factor and the mean opinion score.

ITU-T G.107 (06/2015) with its default values for everything but delay, loss and codec:

    R = 93.2 - Id - Ie,eff
    Ie,eff = Ie + (95 - Ie) * Ppl / (Ppl / BurstR + Bpl)          (G.107, 7-29)

Ie and Bpl of G.711 are from G.113 appendix I. The delay impairment is the linear fit of Cole
and Rosenbluth, "Voice over IP performance monitoring" (2001): 0.024 d + 0.11 (d - 177.3) above
177.3 ms. R to MOS is G.107 annex B.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from media.encoding import Encoding

R_DEFAULT: Final = 93.2


class CodecImpairment(NamedTuple):
    """`ie`: impairment without loss; `bpl`: robustness against random loss (G.113 appendix I)."""

    ie: float
    bpl: float


G711_WITH_PLC: Final = CodecImpairment(0.0, 25.1)
G711_WITHOUT_PLC: Final = CodecImpairment(0.0, 4.3)
# G.113 has no figures for these two heard in the telephone band. Without loss they are no worse
# than G.711 here. With it their decoders' memory suffers: they are given the Bpl at which, of what
# bench/concealment.py plays, equal PESQ means equal R (G.722 at 5 % is like G.711 at 13 %, Opus at
# 5 % like G.711 at 9 %).
G722_WITH_PLC: Final = CodecImpairment(0.0, 10.0)
OPUS_WITH_PLC: Final = CodecImpairment(0.0, 15.0)

OF_CODEC: Final = {
    Encoding.PCMU: G711_WITH_PLC,
    Encoding.PCMA: G711_WITH_PLC,
    Encoding.G722: G722_WITH_PLC,
    Encoding.OPUS: OPUS_WITH_PLC,
}


def r_factor(
    *,
    loss: float,
    one_way_ms: float = 0.0,
    burst_ratio: float = 1.0,
    codec: CodecImpairment = G711_WITH_PLC,
) -> float:
    """R from 0 to 93.2. `loss` is the share 0 to 1 that was not played, late packets included;
    `one_way_ms` is mouth to ear; `burst_ratio` is 1 for random loss, above it for bursts.
    """
    percent = 100 * min(max(loss, 0.0), 1.0)
    delay = max(one_way_ms, 0.0)
    delay_impairment = 0.024 * delay + 0.11 * max(delay - 177.3, 0.0)
    weighted = percent / max(burst_ratio, 1.0) + codec.bpl
    equipment = codec.ie + (95 - codec.ie) * percent / weighted
    return max(R_DEFAULT - delay_impairment - equipment, 0.0)


def mean_opinion_score(r: float) -> float:
    """The MOS, 1.0 to 4.5, that listeners would give a connection of that R."""
    if r <= 0:
        return 1.0
    if r >= 100:
        return 4.5
    return max(1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6, 1.0)


def burst_ratio(*, lost: int, bursts: int, expected: int) -> float:
    """How much longer loss runs are than random loss would make them (G.107 section 3.1).

    `lost` packets of `expected`, in `bursts` runs. Random loss of rate p has runs of 1 / (1 - p).
    """
    if not lost or not bursts or expected <= lost:
        return 1.0
    return max((lost / bursts) * (1 - lost / expected), 1.0)
