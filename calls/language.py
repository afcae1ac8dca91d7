"""What a language's words tell of a sentence that is still being spoken. One table per language."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property

Words = frozenset[str]


def words(text: str) -> Words:
    """A set of words, from a text with spaces between them; "_" stands for a space within one."""
    return frozenset(word.replace("_", " ") for word in text.split())


@dataclass(frozen=True, eq=False)
class Language:
    """The table that `calls/completeness.py` reads. A set left empty has no rule."""

    #: Said while thinking: "um".
    fillers: Words = frozenset()
    #: What ends a turn of its own accord: "goodbye", "please", "that's all".
    closers: Words = frozenset()
    #: Whole answers: "yes", "no thanks", "next week".
    answers: Words = frozenset()
    #: The first words of answers that say yes or no.
    yes_no: Words = frozenset()
    #: Those of them that say yes.
    consents: Words = frozenset()
    #: What a call begins with: "hello".
    greetings: Words = frozenset()
    #: Asks for time: "hold on".
    holds: Words = frozenset()
    #: Words that nothing ends with: "and", "the", "my".
    hanging: Words = frozenset()
    #: Words that ask for more, except at the end of a question: "to", "for".
    stranded: Words = frozenset()
    #: Verbs that ask for more, except after a pronoun in a short answer ("yes I am"): "is".
    auxiliaries: Words = frozenset()
    #: Words that neither ask for more nor end anything: what stands before them does.
    adverbs: Words = frozenset()
    pronouns: Words = frozenset()
    #: Verbs that may end with "to": "I would like to".
    wishes: Words = frozenset()
    #: Beginnings of clauses that say nothing yet: "i would like".
    openings: Words = frozenset()
    #: Whole sentences that announce another: "i have a question".
    announcements: Words = frozenset()
    #: Words that begin a clause which another has to follow: "if".
    subordinators: Words = frozenset()
    #: Words that begin a question.
    question_words: Words = frozenset()
    #: Those that begin a request instead, before a pronoun: "can I".
    requests: Words = frozenset()
    #: Days, months, parts of the day: an answer, and an end, if they stand at the end.
    times: Words = frozenset()
    #: Digits by name, and how many digits other numbers are.
    digits: dict[str, int] = field(default_factory=dict)
    #: After these a number counts, or points: "I need two", "that one".
    counted: Words = frozenset()
    #: "double", "triple": how many digits the next one is.
    repeats: dict[str, int] = field(default_factory=dict)
    #: What an agent's sentence asks for, tried in this order: the kind, and how many digits there
    #: are at least and at most in it. Of a kind without digits, (0, 0).
    asks: tuple[tuple[str, re.Pattern[str], tuple[int, int]], ...] = ()
    #: Marks a sentence that wants more of an answer than "yes".
    requested: re.Pattern[str] = re.compile("$")
    #: Turns what one transcriber writes into what the others do: "i'd" is "i would".
    spellings: dict[str, str] = field(default_factory=dict)

    @cached_property
    def longest_phrase(self) -> int:
        """The most words that a phrase has which something may end with."""
        tables = (self.closers, self.holds, self.openings)
        return max((p.count(" ") + 1 for table in tables for p in table), default=1)
