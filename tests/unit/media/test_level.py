from __future__ import annotations

import numpy as np
import pytest

from media.frames import SILENCE, to_pcm
from media.level import SILENT, level_dbov


@pytest.mark.parametrize(
    ("wave", "level"),
    [
        (np.full(160, -32768), 0),
        (32767 * np.sin(np.arange(160) * np.pi / 4), 3),
        (np.full(160, 3277), 20),
        (np.full(160, 1), 90),
        (np.zeros(160), SILENT),
    ],
)
def test_levels_are_those_of_rfc_6464(wave: np.ndarray, level: int) -> None:
    assert level_dbov(to_pcm(wave)) == level_dbov(wave.astype(np.int16)) == level


def test_silence_is_the_last_level() -> None:
    assert level_dbov(SILENCE) == 127
