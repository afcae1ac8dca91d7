"""Cutting a reply into sentences."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.llm.sentences import SentenceSplitter


def split(*tokens: str) -> list[str]:
    splitter = SentenceSplitter()
    return [sentence for token in tokens for sentence in splitter.feed(token)] + splitter.flush()


def words(text: str) -> list[str]:
    return re.sub(r"[\W_]", " ", text).split()


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Hello there. How are you?", ["Hello there.", "How are you?"]),
        ("Dr. Smith is in. Please wait.", ["Dr. Smith is in.", "Please wait."]),
        ("J. S. Bach wrote it.", ["J. S. Bach wrote it."]),
        ("So did I. And you?", ["So did I.", "And you?"]),
        ("It costs 3.50 euros. Fine?", ["It costs 3.50 euros.", "Fine?"]),
        ("Wait... I see.", ["Wait...", "I see."]),
        ("What?! Really?", ["What?!", "Really?"]),
        ('She said "Go." Then left.', ['She said "Go."', "Then left."]),
        ("Write to a.b@example.com now.", ["Write to a.b@example.com now."]),
        ("नमस्ते। आप कैसे हैं?", ["नमस्ते।", "आप कैसे हैं?"]),
        ("No end", ["No end"]),
        ("", []),
        ("  \n ", []),
        ("!?...", []),
    ],
)
def test_a_text_in_one_piece(text: str, sentences: list[str]) -> None:
    assert split(text) == sentences


def test_a_sentence_comes_as_soon_as_it_is_complete() -> None:
    splitter = SentenceSplitter()
    assert splitter.feed("It is") == []
    assert splitter.pending
    assert splitter.feed(" noon.") == ["It is noon."]
    assert not splitter.pending


def test_a_number_waits_for_what_follows_its_point() -> None:
    assert split("It costs 3.", "50 euros.") == ["It costs 3.50 euros."]


def test_marks_that_come_late_are_no_sentence() -> None:
    assert split("Well.", ".", ".", " Yes.") == ["Well.", ".. Yes."]


def test_a_long_sentence_is_spoken_by_clauses() -> None:
    clause = "and then we walked on to the next of the many houses, "
    pieces = split(clause * 6)
    assert len(pieces) > 1
    assert all(len(piece) <= 220 for piece in pieces)


def test_a_text_without_any_mark_is_cut_between_words() -> None:
    pieces = split("word " * 2000)
    assert all(len(piece) <= 400 for piece in pieces)
    assert set(" ".join(pieces).split()) == {"word"}


def test_a_text_without_even_spaces_is_cut_where_it_stands() -> None:
    pieces = split("x" * 1000)
    assert "".join(pieces) == "x" * 1000
    assert all(len(piece) <= 400 for piece in pieces)


tokens = st.lists(
    st.sampled_from(["Dr", ".", "?", "!", "...", " ", "3", "word", '"', ", ", "I", "e.g.", "\n"])
    | st.text("ab .!?,'", max_size=8),
    max_size=30,
)


@given(tokens)
def test_no_word_is_lost_or_doubled(pieces: list[str]) -> None:
    assert words(" ".join(split(*pieces))) == words("".join(pieces))


@given(tokens)
def test_every_sentence_has_something_to_say(pieces: list[str]) -> None:
    for sentence in split(*pieces):
        assert words(sentence)
        assert sentence == sentence.strip()
