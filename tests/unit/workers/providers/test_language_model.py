from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.providers.language_model import BEGIN, END, LanguageModel

sentences = st.lists(
    st.lists(st.sampled_from([*"abcde"]), min_size=1, max_size=6), min_size=1, max_size=8
)


@given(sentences)
def test_probabilities_sum_to_one_after_every_history(said):
    model = LanguageModel(said)
    words = [BEGIN, *model.words, "never said"]
    histories = [(), *((a,) for a in words), *((a, b) for a in words for b in words)]
    for history in histories:
        total = sum(model.probability(word, history) for word in model.vocabulary)
        assert total == pytest.approx(1)


@given(sentences)
def test_the_backoff_weight_is_what_the_formula_leaves_to_unseen_words(said):
    model = LanguageModel(said)
    followers: dict[tuple[str, ...], set[str]] = {}
    for sentence in said:
        padded = (BEGIN, *sentence, END)
        for at in range(1, len(padded)):
            followers.setdefault(padded[at - 1 : at], set()).add(padded[at])
    for history, seen in followers.items():
        for word in set(model.vocabulary) - seen:
            backed_off = model.backoff(history) * model.probability(word)
            assert model.probability(word, history) == pytest.approx(backed_off)


def test_witten_bell_by_hand():
    # After <s>: "yes" twice, "no" once, so c = 3 and t = 2. Of 7 unigrams 2 are yes.
    model = LanguageModel([["yes"], ["yes", "please"], ["no"]])
    unigram = (2 + 4 / 4) / (7 + 4)
    assert model.probability("yes") == pytest.approx(unigram)
    assert model.probability("yes", (BEGIN,)) == pytest.approx((2 + 2 * unigram) / (3 + 2))


def test_what_is_said_more_often_is_likelier():
    model = LanguageModel([["yes"]] * 5 + [["no"]])
    assert model.probability("yes", (BEGIN,)) > model.probability("no", (BEGIN,))


def test_arpa_counts_its_lines_and_holds_the_probabilities():
    model = LanguageModel([["book", "an", "appointment"], ["an", "appointment", "please"]])
    text = model.arpa()
    assert text.startswith("\\data\\\n")
    assert text.endswith("\\end\\\n")
    for order in (1, 2, 3):
        promised = int(re.search(rf"ngram {order}=(\d+)", text)[1])
        section = re.search(rf"\\{order}-grams:\n(.*?)\n\n", text, re.DOTALL)[1].splitlines()
        assert len(section) == promised
        for line in section:
            log, gram, *backoff = line.split("\t")
            words = tuple(gram.split())
            assert len(words) == order
            if words == (BEGIN,):
                assert log == "-99.00000"
            else:
                expected = math.log10(model.probability(words[-1], words[:-1]))
                assert float(log) == pytest.approx(expected, abs=1e-5)
            assert bool(backoff) == (order < 3 and words[-1] != END)


def test_without_a_word_there_is_no_model():
    with pytest.raises(ValueError, match="at least one phrase"):
        LanguageModel([[], []])
