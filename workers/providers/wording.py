"""Words as they are spoken: how phrases, transcripts and dictionaries are compared.

A phrase in agents.yaml may be written as prose ("Doctor Smith, please."); a recogniser writes
"doctor smith please". Both are the same words.
"""

from __future__ import annotations

import unicodedata

_INSIDE_WORDS = frozenset("'’")


def words(text: str) -> tuple[str, ...]:
    """Split text into lower-case words without punctuation; apostrophes inside a word stay.

    Works for scripts whose vowel signs are combining marks (Devanagari): only punctuation and
    symbols separate, besides white space.
    """
    spoken = "".join(_letter(char) for char in unicodedata.normalize("NFC", text).casefold())
    return tuple(word for run in spoken.split() if (word := run.strip("'")))


def _letter(char: str) -> str:
    if char in _INSIDE_WORDS:
        return "'"
    return " " if unicodedata.category(char)[0] in "PSZC" else char
