"""What was said against what was heard: words that are missing, and words too many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher


@dataclass(frozen=True, slots=True)
class Difference:
    """Words in the order of speech; a word misheard is in both."""

    lost: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    #: Turns that were not heard as one, with exactly their words: (said, heard).
    turns: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = field(default=())


def compare(said: Sequence[str], heard: Sequence[str]) -> Difference:
    """Compare a call's turns, each its words with spaces between.

    Turns are matched whole first, so that what is wrong with one is not explained by the words of
    its neighbours.
    """
    lost: list[str] = []
    added: list[str] = []
    turns: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    matcher = SequenceMatcher(None, list(said), list(heard), autojunk=False)
    for tag, begin, end, other_begin, other_end in matcher.get_opcodes():
        if tag == "equal":
            continue
        turns.append((tuple(said[begin:end]), tuple(heard[other_begin:other_end])))
        less, more = _words(" ".join(said[begin:end]), " ".join(heard[other_begin:other_end]))
        lost += less
        added += more
    return Difference(tuple(lost), tuple(added), tuple(turns))


def _words(said: str, heard: str) -> tuple[list[str], list[str]]:
    ours, theirs = said.split(), heard.split()
    lost: list[str] = []
    added: list[str] = []
    matcher = SequenceMatcher(None, ours, theirs, autojunk=False)
    for tag, begin, end, other_begin, other_end in matcher.get_opcodes():
        if tag != "equal":
            lost += ours[begin:end]
            added += theirs[other_begin:other_end]
    return lost, added
