from __future__ import annotations

from typing import Any

import pytest

from workers.ports import ProviderError
from workers.providers.options import parse
from workers.providers.receptionist import EVEN, Receptionist, phrases_of


def options(**changes: Any) -> dict[str, Any]:
    return {
        "slots": {
            "day": {"type": "day", "ask": "Which day?"},
            "color": {"values": ["red", "Dark Green"], "ask": "Which color?"},
        },
        "intents": {
            "paint": {"phrases": ["paint it {color}"], "slots": ["color"], "say": "{color}!"},
            "bye": {"phrases": ["goodbye"], "say": "Bye.", "then": "hangup"},
        },
        **changes,
    }


def intent(**changes: Any) -> dict[str, Any]:
    return {"intents": {"paint": {"phrases": ["paint it"], "say": "Done.", **changes}}}


def test_phrases_have_their_places_filled_with_every_value():
    phrases = phrases_of(parse(Receptionist, options(), where="here"))
    assert {"paint it red", "paint it dark green", "red", "on tuesday", "yes please"} <= {*phrases}
    assert not any("{" in phrase for phrase in phrases)


def test_a_phrase_without_places_weighs_as_much_as_one_with_some():
    phrases = phrases_of(parse(Receptionist, options(), where="here"))
    assert phrases.count("goodbye") == EVEN
    assert phrases.count("paint it red") + phrases.count("paint it dark green") == EVEN


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"intents": {}}, r"here\.intents: .*at least 1"),
        ({"intnets": {}}, r"here\.intnets: Extra inputs"),
        (intent(say=None), r"here\.intents\.paint\.say: "),
        (intent(then="dance"), r"here\.intents\.paint\.then: .*'hangup'"),
        (intent(then="transfer"), r"`then: transfer` and `to` go together"),
        (intent(then="hangup", to="desk"), r"`then: transfer` and `to` go together"),
        (intent(then="send_digits", digits="x"), r"intents\.paint\.digits: .*no keys to send"),
        (intent(phrases=["?!"]), r"here\.intents\.paint\.phrases\.0: '\?!' has no words"),
        (intent(phrases=["on {dya}"]), r"intents\.paint\.phrases\.0 names \{dya\}"),
        (intent(slots=["size"]), r"intents\.paint\.slots: no slot is called 'size'"),
        (intent(say="On {day}."), r"intents\.paint says \{day\}, but does not ask for it"),
        (intent(phrases=["{day} " * 5]), r"stands for 59049 phrases; use fewer places"),
        ({"slots": {"x": {"ask": "X?"}}, **intent()}, r"here\.slots\.x: .*needs `values`"),
        ({"give_up": "human"}, r"give_up: no intent is called 'human'"),
        ({"give_up": "paint"}, r"give_up: intent 'paint' must not have slots"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(changes, message):
    with pytest.raises(ProviderError, match=message) as caught:
        parse(Receptionist, options(**changes), where="here")
    assert caught.value.error_type == "refused"


def test_all_mistakes_are_told_at_once():
    with pytest.raises(ProviderError) as caught:
        parse(Receptionist, options(patience=0, min_confidence=2), where="here")
    assert len(str(caught.value).splitlines()) == 2
