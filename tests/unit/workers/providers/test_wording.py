from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.providers.wording import words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Doctor Smith, please.", ("doctor", "smith", "please")),
        ("That’s right!", ("that's", "right")),
        ("'quoted' o'clock", ("quoted", "o'clock")),
        ("twenty-one", ("twenty", "one")),
        ("नमस्ते, आप कैसे हैं?", ("नमस्ते", "आप", "कैसे", "हैं")),
        ("... !", ()),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


@given(st.text())
def test_words_of_words_are_the_same_words(text):
    assert words(" ".join(words(text))) == words(text)
