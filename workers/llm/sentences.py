"""Cutting a stream of tokens into sentences, each as early as it can be spoken."""

from __future__ import annotations

import re
from typing import Final

_ENDERS: Final = ".!?…।。！？"
#: A full stop after one of these, or after a single letter, ends no sentence.
_ABBREVIATIONS: Final = frozenset(
    {"dr", "mr", "mrs", "ms", "st", "prof", "sr", "jr", "vs", "etc", "approx", "no", "e.g", "i.e"}
)
#: Past this length a clause is spoken on its own: nobody waits for a paragraph. In characters.
_LONG: Final = 160
_CLAUSE: Final = re.compile(r"[,;:–—]\s")
#: Past this length it is cut between two words, or where it stands. In characters.
_LONGEST: Final = 400
_CLOSING: Final = "\"')”’"


class SentenceSplitter:
    """Feed it tokens, take the sentences that are complete."""

    def __init__(self) -> None:
        self._text = ""

    def feed(self, token: str) -> list[str]:
        """Add a token; returns the sentences it completes."""
        self._text += token
        done = []
        while (cut := _cut(self._text)) is not None:
            sentence, self._text = self._text[:cut].strip(), self._text[cut:]
            if any(char.isalnum() for char in sentence):
                done.append(sentence)
        return done

    def flush(self) -> list[str]:
        """The reply is over: what is left is a sentence."""
        rest, self._text = self._text.strip(), ""
        return [rest] if any(char.isalnum() for char in rest) else []

    @property
    def pending(self) -> bool:
        """Has the next sentence begun?"""
        return bool(self._text.strip())


def _cut(text: str) -> int | None:
    """Where the first complete sentence of `text` ends; None when none is complete."""
    words = False  # marks alone, the rest of a "?!", are no sentence
    for index, char in enumerate(text[:_LONGEST]):
        words = words or char.isalnum()
        if words and char in _ENDERS and _ends_sentence(text, index):
            return index + 1 + (text[index + 1 : index + 2] in tuple(_CLOSING))
    if len(text) > _LONG and (clause := _CLAUSE.search(text, _LONG // 2, _LONGEST)):
        return clause.end()
    if len(text) > _LONGEST:
        return text.rfind(" ", 1, _LONGEST) + 1 or _LONGEST
    return None


def _ends_sentence(text: str, index: int) -> bool:
    following = text[index + 1 : index + 2]
    if following and not following.isspace():
        return following in _CLOSING
    if text[index] != ".":
        return True
    word = text[:index].rsplit(None, 1)[-1].lower() if text[:index].strip() else ""
    if word in _ABBREVIATIONS or (len(word) == 1 and word.isalpha() and word != "i"):
        return False
    # "3." may become "3.5": a digit needs to see what follows it.
    return bool(following) or not word[-1:].isdigit()
