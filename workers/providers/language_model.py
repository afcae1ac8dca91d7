"""A trigram language model made from a handful of phrases, in the ARPA format.

Smoothing is interpolated Witten-Bell (Witten and Bell 1991, method C): after a history h that was
seen c(h) times with t(h) different successors,

    P(w | h) = (c(h w) + t(h) P(w | h')) / (c(h) + t(h))

where h' is h without its first word; below the unigrams stands the uniform distribution. Few
phrases make few counts, and Witten-Bell is what still behaves with few: it has no counts of counts
to estimate. For an unseen w the formula is t(h) / (c(h) + t(h)) times P(w | h'), so the ARPA
back-off weight of h is exactly that factor, and probabilities sum to one after every history.

The format: Doug Paul's ARPA back-off format, as documented in SRILM's ngram-format(5).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

BEGIN, END = "<s>", "</s>"
ORDER = 3

Gram = tuple[str, ...]

#: log10 of "never", as ARPA files write it.
_NEVER = -99.0


class LanguageModel:
    """A trigram model over sentences of words.

    `sentences` are weighed by how often they occur in it.

    Raises:
        ValueError: no sentence has a word.
    """

    def __init__(self, sentences: Iterable[Sequence[str]]) -> None:
        #: c(h w), by the whole gram; order 1 to 3.
        self._seen: Counter[Gram] = Counter()
        for sentence in sentences:
            if sentence:
                self._count((BEGIN, *sentence, END))
        self.vocabulary = sorted(gram[0] for gram in self._seen if len(gram) == 1)
        if not self.vocabulary:
            raise ValueError("a language model needs at least one phrase")
        self._total: Counter[Gram] = Counter()
        self._types: Counter[Gram] = Counter()
        for gram, count in self._seen.items():
            self._total[gram[:-1]] += count
            self._types[gram[:-1]] += 1

    def _count(self, sentence: Gram) -> None:
        for end in range(1, len(sentence)):
            for order in range(1, min(ORDER, end + 1) + 1):
                self._seen[sentence[end - order + 1 : end + 1]] += 1

    @property
    def words(self) -> list[str]:
        """The words a dictionary must know, sorted."""
        return [word for word in self.vocabulary if word != END]

    def probability(self, word: str, history: Gram = ()) -> float:
        """P(word | history); only the history's last two words count."""
        history = history[-(ORDER - 1) :]
        lower = self.probability(word, history[1:]) if history else 1 / len(self.vocabulary)
        if not self._types[history]:
            return lower
        seen, types = self._seen[(*history, word)], self._types[history]
        return (seen + types * lower) / (self._total[history] + types)

    def backoff(self, history: Gram) -> float:
        """What is left, after `history`, for words that were never seen to follow it."""
        types = self._types[history]
        return types / (self._total[history] + types) if types else 1.0

    def arpa(self) -> str:
        """The model as the text of an ARPA file."""
        orders: list[list[Gram]] = [
            sorted(gram for gram in self._seen if len(gram) == order)
            for order in range(1, ORDER + 1)
        ]
        orders[0].insert(0, (BEGIN,))
        lines = ["\\data\\"]
        lines += [f"ngram {order}={len(grams)}" for order, grams in enumerate(orders, 1)]
        for order, grams in enumerate(orders, 1):
            lines += ["", f"\\{order}-grams:"]
            lines += [self._line(gram) for gram in grams]
        return "\n".join([*lines, "", "\\end\\", ""])

    def _line(self, gram: Gram) -> str:
        log = _NEVER if gram == (BEGIN,) else math.log10(self.probability(gram[-1], gram[:-1]))
        line = f"{log:.5f}\t{' '.join(gram)}"
        if len(gram) == ORDER or gram[-1] == END:
            return line
        return f"{line}\t{math.log10(self.backoff(gram)):.5f}"
