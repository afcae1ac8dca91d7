"""What a rules agent knows: its intents, slots and sentences, as written in agents.yaml.

    options:
      slots:
        day:   {type: day, ask: "For which day?"}
        color: {values: [red, dark green], ask: "Which color?"}
      intents:
        paint:
          phrases: ["i want it {color}", "paint it {color} on {day}"]
          slots: [color, day]
          confirm: "{color}, on {day}. Is that right?"
          say: "It will be {color}."
        human: {phrases: ["a human"], say: "I put you through.", then: transfer, to: desk}
        goodbye: {phrases: ["goodbye"], say: "Goodbye.", then: hangup, interruptible: false}

An *intent* is something callers want, with examples of how they say it. A *slot* is something that
must be known before an intent can be carried out. Everything callers are expected to say can be
listed (`phrases_of`): the embedded transcriber makes its language model of that list.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from calls.actions import parse_digits
from calls.events import ActionName
from calls.transfer import Name
from workers.providers.options import Options
from workers.providers.wording import words

Key = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


def _has_words(text: str) -> str:
    if not words(text):
        raise ValueError(f"{text!r} has no words in it")
    return text


#: Keys to send, w or , being a pause.
Keys = Annotated[str, StringConstraints(max_length=100), AfterValidator(parse_digits)]
#: What a caller says.
Phrase = Annotated[Line, AfterValidator(_has_words)]
Phrases = Annotated[tuple[Phrase, ...], Field(min_length=1)]

PLACE = re.compile(r"\{([a-z][a-z0-9_]*)\}")

#: One phrase may stand for at most this many once its places are filled in.
MOST_EXPANSIONS = 2000

EVEN = 4

_HOURS = ("eight", "nine", "ten", "eleven", "twelve", "one", "two", "three", "four", "five", "six")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

Values = Mapping[str, tuple[str, ...]]

#: What each type of slot brings along: its values, with the ways each is said ...
VALUES: Mapping[str, Values] = {
    "day": {
        "today": ("today",),
        "tomorrow": ("tomorrow",),
        **{day: (day.lower(),) for day in _DAYS},
    },
    "part_of_day": {part: (part,) for part in ("morning", "afternoon", "evening")},
    "clock": {
        **{f"{hour} o'clock": (f"{hour} o'clock", hour) for hour in _HOURS},
        **{f"half past {hour}": (f"half past {hour}", f"{hour} thirty") for hour in _HOURS},
    },
    "name": {},
    "list": {},
}
#: ... and how a caller answers when asked for one, `{}` being the value.
ANSWERS: Mapping[str, tuple[str, ...]] = {
    "day": ("on {}", "{} please", "on {} please"),
    "part_of_day": ("in the {}", "the {}", "{} please", "in the {} please"),
    "clock": ("at {}", "{} please", "at {} please"),
    "name": ("with {}", "{} please", "with {} please"),
    "list": ("{} please",),
}


class Slot(Options):
    """Something to be found out. English is built in for `day`, `part_of_day` and `clock`."""

    type: Literal["day", "part_of_day", "clock", "name", "list"] = "list"
    #: What it may be: a list, or a mapping from the value to the ways it is said.
    values: dict[Line, Phrases] | tuple[Phrase, ...] = ()
    #: The question that asks for it.
    ask: Line
    #: Other ways to answer, like "on {day} in the {part}"; may name other slots as well.
    answers: tuple[Phrase, ...] = ()

    @model_validator(mode="after")
    def _has_values(self) -> Slot:
        if not self.spoken:
            raise ValueError(f"a slot of type {self.type!r} needs `values`")
        return self

    @property
    def spoken(self) -> Values:
        """Every value with the ways it is said."""
        if isinstance(self.values, dict):
            return self.values
        return {value: (value,) for value in self.values} or VALUES[self.type]


class Intent(Options):
    """Something callers want."""

    #: How they say it; "{day}" stands for any value of the slot `day`.
    phrases: Phrases
    #: What must be known first, in the order in which it is asked for.
    slots: tuple[Key, ...] = ()
    #: The read-back: a question that is answered with yes or no. Without it nothing is confirmed.
    confirm: Line | None = None
    #: What is said once all is known (and confirmed).
    say: Line
    #: What is done after that was heard.
    then: ActionName | None = None
    #: Whom to transfer to: a name among the agent's `transfer.destinations`.
    to: Name | None = None
    #: The keys to send.
    digits: Keys | None = None
    #: May the caller speak over what is said? Questions can always be interrupted.
    interruptible: bool = True

    @model_validator(mode="after")
    def _says_what_it_does(self) -> Intent:
        for then, name, given in (
            ("transfer", "to", self.to),
            ("send_digits", "digits", self.digits),
        ):
            if (self.then == then) != (given is not None):
                raise ValueError(f"`then: {then}` and `{name}` go together")
        return self

    @property
    def arguments(self) -> dict[str, str]:
        """What it does, in detail (workers.ports.Action)."""
        given = {"destination": self.to, "digits": self.digits}
        return {name: value for name, value in given.items() if value is not None}


class Receptionist(Options):
    """All of a rules agent's options."""

    intents: dict[Key, Intent] = Field(min_length=1)
    slots: dict[Key, Slot] = Field(default_factory=dict)
    yes: Phrases = (
        "yes", "yes please", "yes that is right", "that's right", "correct", "yeah", "sure",
    )  # fmt: skip
    no: Phrases = ("no", "no thank you", "no that is wrong", "that's wrong", "not quite")
    #: Said when nothing was understood.
    reprompt: Line = "Sorry, could you say that again?"
    #: Said when the caller answers the read-back with no; the first slot is asked for again.
    again: Line = "All right, let us try that again."
    #: A transcript below this confidence is not acted on.
    min_confidence: float = Field(default=0.3, ge=0, le=1)
    #: The intent carried out when the caller was not understood `patience` times in a row.
    give_up: Key | None = None
    patience: int = Field(default=3, ge=1, le=10)
    #: Wait so long before each word, in ms: the pace of a language model, for trying things out.
    pace_ms: int = Field(default=0, ge=0, le=1000)

    @model_validator(mode="after")
    def _names_are_known(self) -> Receptionist:
        for path, text in self._templates():
            for place in PLACE.findall(text):
                if place not in self.slots:
                    raise ValueError(f"{path} names {{{place}}}, but no slot is called that")
            if (count := _expansions(text, self.slots)) > MOST_EXPANSIONS:
                raise ValueError(f"{path} {text!r} stands for {count} phrases; use fewer places")
        for name, intent in self.intents.items():
            for slot in intent.slots:
                if slot not in self.slots:
                    raise ValueError(f"intents.{name}.slots: no slot is called {slot!r}")
            for place in PLACE.findall(f"{intent.confirm} {intent.say}"):
                if place not in intent.slots:
                    raise ValueError(
                        f"intents.{name} says {{{place}}}, but does not ask for it: "
                        f"add {place!r} to intents.{name}.slots"
                    )
        if self.give_up is not None and self.give_up not in self.intents:
            raise ValueError(f"give_up: no intent is called {self.give_up!r}")
        if self.give_up is not None and self.intents[self.give_up].slots:
            raise ValueError(f"give_up: intent {self.give_up!r} must not have slots")
        return self

    def _templates(self) -> Iterator[tuple[str, str]]:
        for name, intent in self.intents.items():
            for index, phrase in enumerate(intent.phrases):
                yield f"intents.{name}.phrases.{index}", phrase
        for name, slot in self.slots.items():
            for index, answer in enumerate(slot.answers):
                yield f"slots.{name}.answers.{index}", answer


def phrases_of(options: Receptionist) -> list[str]:
    """Everything callers are expected to say, every place filled in with every value.

    Phrases repeat as they are to be weighed: one without places counts as `EVEN` filled in, else
    the seven days of a week would make "yes please" seven times less likely to be heard.
    """
    templates = [phrase for intent in options.intents.values() for phrase in intent.phrases]
    for name, slot in options.slots.items():
        place = f"{{{name}}}"
        templates += [place, *slot.answers]
        templates += [answer.replace("{}", place) for answer in ANSWERS[slot.type]]
    templates += [*options.yes, *options.no]
    phrases: list[str] = []
    for template in templates:
        filled = list(_fill(template, options.slots))
        phrases += filled * max(1, round(EVEN / len(filled)))
    return phrases


def _fill(template: str, slots: Mapping[str, Slot]) -> Iterator[str]:
    places = PLACE.findall(template)
    for values in itertools.product(*(_ways(slots[place]) for place in places)):
        filled = template
        for place, value in zip(places, values, strict=True):
            filled = filled.replace(f"{{{place}}}", value, 1)
        yield filled


def _expansions(template: str, slots: Mapping[str, Slot]) -> int:
    return math.prod(len(_ways(slots[place])) for place in PLACE.findall(template))


def _ways(slot: Slot) -> list[str]:
    return [" ".join(words(way)) for ways in slot.spoken.values() for way in ways]
