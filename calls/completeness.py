"""Do these words finish a turn? A cheap rule over the text, asked at every pause.

It tells three kinds of pause apart:

- UNFINISHED: something is missing, so the caller is thinking: a filler at the end ("um"), a word
  that asks for another ("and", "my number is", "I would like"), "hold on", an "if" without its
  main clause, fewer digits than the number has that was asked for.
- COMPLETE: nothing can be missing: a plain answer ("no thanks", "at seven", a name when one was
  asked for), a question, a request with "please" or with its day.
- UNSURE: a clause that could go on ("I would like to book an appointment ..."). Only the voice, or
  time, will tell.

The rules know a language by its table (calls/language.py). Where there is none, only punctuation
counts. A full stop is no evidence, since transcribers that punctuate write one after everything; a
comma or dots at the end are, and so is no mark at all from one that has written marks before.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from functools import lru_cache
from typing import Final, NamedTuple

from calls.english import ENGLISH
from calls.language import Language, words

#: By the primary subtag (RFC 5646).
LANGUAGES: Final[dict[str, Language]] = {"en": ENGLISH}
_NO_TABLE: Final = Language()

_WORD: Final = re.compile(r"[^\W_]+(?:['’.:,-][^\W_]+)*")
_OPEN_END: Final = re.compile(r"(?:\.\.+|…|[,:;]|[-–—])[\"'”’)]*\s*$")
_ENDED: Final = re.compile(r"[.?!।。？！][\"'”’)]*\s*$")
_MARKS: Final = re.compile(r"[.,?!;:](?:\s|$)")
_QUOTES: Final = " \"'”’)"
_NUMERAL: Final = re.compile(r"[\d.,:-]*\d")
#: A clause after one of these words of the same clause is its object: "that is all i need".
_RELATIVE: Final = words("all what that which everything whatever anything whom who")
#: Of an answer in a word or two to a plain question.
_SHORT_ANSWER: Final = 5


class Completeness(Enum):
    """What the words say of the turn."""

    COMPLETE = auto()
    UNSURE = auto()
    UNFINISHED = auto()


class _Asked(NamedTuple):
    """What the agent wants to know: a kind of the language's `asks`, "other", or nothing ("")."""

    kind: str
    least: int = 0
    most: int = 0
    #: A "yes" is not all that it wants.
    content: bool = False

    @property
    def closed(self) -> bool:
        """Will a few words do?"""
        return self.kind not in {"", "open"}


def completeness(text: str, *, asked: str = "", language: str = "en-US") -> Completeness:
    """Judge an utterance so far, as a transcriber wrote it, with or without punctuation and case.

    `asked` is the sentence of the agent's that the caller heard last.
    """
    if _OPEN_END.search(text):
        return Completeness.UNFINISHED
    table = LANGUAGES.get(language.partition("-")[0], _NO_TABLE)
    said = _words(text, table)
    if not said:
        return Completeness.UNSURE
    found = _judge(said, _asked_for(asked, table), text, table)
    torn = found is Completeness.COMPLETE and _MARKS.search(text) and not _ENDED.search(text)
    return Completeness.UNSURE if torn else found


def has_rules(language: str) -> bool:
    """Whether the words of this language (RFC 5646) are judged, or only their punctuation."""
    return language.partition("-")[0] in LANGUAGES


def _judge(said: list[str], asked: _Asked, text: str, table: Language) -> Completeness:
    whole = " ".join(said)
    if whole in table.consents and (asked.content or asked.kind == "open"):
        # "Can you tell me your number?" "Sure ..."
        return Completeness.UNFINISHED if asked.closed else Completeness.UNSURE
    if whole in table.answers:
        return Completeness.COMPLETE
    if _ends_with(said, table.holds, table):
        return Completeness.UNFINISHED
    if closer := _ends_with(said, table.closers, table):
        rest = said[:-closer]
        hangs = rest and _asks_for_more(rest, table) is Completeness.UNFINISHED
        return Completeness.UNFINISHED if hangs else Completeness.COMPLETE
    if said[-1] in table.fillers or whole in table.announcements:
        return Completeness.UNFINISHED
    if _digits(said[-1], table) and not _is_no_digit(said, table):
        return _number(said, asked, whole, table)
    return _asks_for_more(said, table) or _clause(said, asked, text, table)


def _clause(said: list[str], asked: _Asked, text: str, table: Language) -> Completeness:
    """Nothing is missing at its end: is it all?"""
    content, last = _content(said, table), said[-1]
    if content[0] in table.subordinators and len(content) < 10 and "," not in text:
        return Completeness.UNSURE if asked.closed else Completeness.UNFINISHED
    if _is_question(content, text, table):
        return Completeness.COMPLETE
    if asked.kind == "date" and any(word in table.times or _digits(word, table) for word in said):
        return Completeness.UNFINISHED  # without a year
    if asked.kind == "spelling" and len(last) == 1:
        return Completeness.UNFINISHED if len(content) < 3 else Completeness.UNSURE
    if asked.kind == "digits":
        return Completeness.UNSURE
    short = asked.closed and len(said) <= _SHORT_ANSWER
    return Completeness.COMPLETE if last in table.times or short else Completeness.UNSURE


def _asks_for_more(said: list[str], table: Language) -> Completeness | None:
    """What the last words say, if they ask for others; None if they do not."""
    while len(said) > 1 and said[-1] in table.adverbs:
        said = said[:-1]
    last, before = said[-1], said[-2] if len(said) > 1 else ""
    if last in table.hanging:
        return Completeness.UNFINISHED
    if last in table.auxiliaries and not (last in table.times and _dates(before, table)):
        if before not in table.pronouns:
            return Completeness.UNFINISHED
        if said[0] in table.yes_no:
            return Completeness.COMPLETE
        return Completeness.UNFINISHED if len(said) < 4 else Completeness.UNSURE
    if last in table.stranded:
        asks_what = said[0] in table.question_words and said[0] in table.stranded
        agrees = said[0] in table.yes_no and before in table.wishes
        return Completeness.UNSURE if asks_what or agrees else Completeness.UNFINISHED
    if opening := _ends_with(said, table.openings, table):
        what_for = said[: len(said) - opening]
        if not what_for or what_for[-1] not in _RELATIVE:
            return Completeness.UNFINISHED
    return None


def _dates(before: str, table: Language) -> bool:
    """Whether a word after this one is a time: "in may", "friday a.m." """
    return before in table.stranded or before in table.times or _digits(before, table) > 0


def _number(said: list[str], asked: _Asked, whole: str, table: Language) -> Completeness:
    """The words end with a number: is it all of it?"""
    run = 0
    while run < len(said) and (_digits(said[-1 - run], table) or said[-1 - run] in table.repeats):
        run += 1
    in_run = _count(said[len(said) - run :], table)
    if asked.kind == "address":
        return Completeness.UNFINISHED  # the number of a house comes before its street
    if asked.kind == "date":
        month = any(word in table.times for word in said[:-run])
        year = in_run == 4 or (month and in_run == 2)
        return Completeness.COMPLETE if year or in_run > 4 else Completeness.UNFINISHED
    wanted = _asked_for(whole, table)
    if wanted.kind != "digits":
        wanted = asked
    if wanted.kind == "digits":
        # All digits of the turn count: "two four six, um, one five".
        count = _count(said, table)
        if count < wanted.least:
            nearly = wanted.least == 10 and count >= 7  # a phone number without its area code
            return Completeness.UNSURE if nearly else Completeness.UNFINISHED
        return Completeness.COMPLETE if wanted.most < 20 else Completeness.UNSURE
    single = all(table.digits.get(word) == 1 or word in table.repeats for word in said[-run:])
    if single and run >= 2:
        # Digit by digit, of a number that nobody told the length of.
        if in_run < 3:
            return Completeness.UNSURE
        if in_run < 7:
            return Completeness.UNFINISHED
        return Completeness.UNSURE if in_run < 10 else Completeness.COMPLETE
    before = said[-1 - run] if run < len(said) else ""
    alone = not before or before in table.stranded or before in table.times
    short = asked.closed and len(said) <= _SHORT_ANSWER
    return Completeness.COMPLETE if alone or short else Completeness.UNSURE


def _is_no_digit(said: list[str], table: Language) -> bool:
    """Whether the number at the end is none of a string of digits: "I do not have one"."""
    alone = len(said) == 1 or said[-2] not in table.counted
    return not alone and table.digits.get(said[-1]) == 1


def _digits(word: str, table: Language) -> int:
    """How many digits a word is; 0 for no number."""
    if _NUMERAL.fullmatch(word):
        return sum(map(str.isdigit, word))
    return table.digits.get(word, 0)


def _count(said: list[str], table: Language) -> int:
    """How many digits these words are: "double five" is two, and so is "twenty three"."""
    count, each, tens = 0, 1, False
    for word in said:
        if word in table.repeats:
            each = table.repeats[word]
            continue
        digits = _digits(word, table)
        count += each * digits - (tens and digits == 1 and word in table.digits)
        each, tens = 1, word.endswith("ty") and word in table.digits
    return count


def _is_question(content: list[str], text: str, table: Language) -> bool:
    """Is it a question, and not a request that may go on ("can I make an appointment ...")?"""
    first = content[0]
    if first in table.requests and len(content) > 1 and content[1] in table.pronouns:
        return False
    return text.rstrip(_QUOTES).endswith("?") or (
        first in table.question_words and len(content) > 2
    )


def _content(said: list[str], table: Language) -> list[str]:
    """The words without those that only introduce them: "yes, um, and ..."."""
    for at, word in enumerate(said):
        if word not in table.yes_no and word not in table.fillers and word not in table.greetings:
            return said[at:]
    return said[-1:]


def _ends_with(said: list[str], phrases: frozenset[str], table: Language) -> int:
    """How many words the longest of these phrases has that the words end with; 0 for none."""
    for length in range(min(len(said), table.longest_phrase), 0, -1):
        if " ".join(said[-length:]) in phrases:
            return length
    return 0


def _words(text: str, table: Language) -> list[str]:
    said: list[str] = []
    for word in _WORD.findall(text.lower().replace("’", "'")):
        if word in table.spellings:
            said += table.spellings[word].split()
        elif "-" in word and not word[0].isdigit():
            said += word.split("-")
        else:
            said.append(word)
    return said


@lru_cache(maxsize=1024)
def _asked_for(asked: str, table: Language) -> _Asked:
    plain = " ".join(_words(asked, table))
    for kind, pattern, (least, most) in table.asks:
        if pattern.search(plain):
            return _Asked(kind, least, most, table.requested.search(plain) is not None)
    return _Asked("other" if asked.rstrip(_QUOTES).endswith("?") else "")
