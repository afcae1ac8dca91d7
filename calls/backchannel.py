"""Words that ask for no answer: "mhm", "yeah", a laugh, a throat cleared in a transcriber's words.

Said while the agent speaks they mean "go on". After a question the same words are its answer, so
whoever asks here also asks whether an answer is due (`expects_answer`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from calls.language import words

#: Said by listeners; none of them is ever an objection ("no", "wait") or a topic.
_PHRASES: Final = words(
    "yeah yea yah yep yup yes ya uh-huh uh-hu uhuh aha right okay ok okey kay sure alright"
    " all-right i-see got-it gotcha i-know i-understand of-course exactly absolutely definitely"
    " true indeed really wow oh ah ooh aw good great nice cool fine perfect lovely wonderful"
    " no-problem go-on uh um er erm eh huh hm hmm ahem hah heh that's-right thats-right oh-dear"
    " oh-my my-god makes-sense"
    # Other languages' own: none of these is a word of a turn in another.
    " ja genau achso sí si claro vale bueno oui ouais d'accord haan haanji ji achha accha theek-hai"
)
_LONGEST: Final = max(phrase.count("-") for phrase in _PHRASES) + 1
#: Sounds that every transcriber spells its own way: mmm, mhm, hahaha, aaah.
_SOUND: Final = re.compile(
    r"(?:h?m+(?:h[mu]?m*)*|(?:h[aeio]+)+h?|a+h+|o+h+|uh+|um+|y+e+a+h*|e+r+m*)"
)
#: What is not speech is written as a remark: (laughs), [cough], *clears throat*.
_REMARK: Final = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|\*[^*]*\*|<[^<>]*>|[♪♫]")
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+")
_MOST_WORDS: Final = 4

_QUESTION: Final = re.compile(
    r"(?:and |so |okay |now |please |then |well )*"
    r"(?:(?:what|which|who|whom|whose|when|where|why|how)(?:'s|'d|'ll)?"
    r"|(?:is|are|was|were|do|does|did|can|could|will|would|shall|should|may|have|has|am)(?:n't)?"
    r"|please|tell|say|give|spell|enter|confirm|repeat|describe|let me know)\b",
    re.IGNORECASE,
)


def is_backchannel(text: str, extra: Iterable[str] = ()) -> bool:
    """Whether these words, said over the agent, only tell it to go on.

    At most four words ("yeah, yeah, I see"), each part of a phrase of the list or of `extra`.
    False for no words at all.
    """
    spoken = _REMARK.sub(" ", text)
    words = _words(spoken)
    if not words:
        return spoken != text
    if len(words) > _MOST_WORDS:
        return False
    own = _normalized(tuple(extra))
    longest = max(_LONGEST, *(phrase.count("-") + 1 for phrase in own)) if own else _LONGEST
    at = 0
    while at < len(words):
        for length in range(min(longest, len(words) - at), 0, -1):
            phrase = "-".join(words[at : at + length])
            if phrase in _PHRASES or phrase in own or (length == 1 and _SOUND.fullmatch(phrase)):
                at += length
                break
        else:
            return False
    return True


def expects_answer(sentence: str) -> bool:
    """Whether this sentence of the agent's asks for an answer, so that "yeah" would be one."""
    ends = sentence.rstrip(" \"'”’)")
    if ends.endswith("?"):
        return True
    # An agent's text is punctuated by its model, but rules and prompts do not always ask with "?".
    last = re.split(r"[.!;]\s+", ends.rstrip(".!"))[-1]
    return not ends.endswith("!") and _QUESTION.match(last.lstrip()) is not None


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower().replace("’", "'"))


@lru_cache(maxsize=64)
def _normalized(phrases: tuple[str, ...]) -> frozenset[str]:
    return frozenset("-".join(words) for phrase in phrases if (words := _words(phrase)))
