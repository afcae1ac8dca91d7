"""The dialogue of a rules agent: a fold over what was said, which keeps nothing between turns.

A `State` is what the caller wants and what is known of it. Each thing the caller says is one step
from state to state and gives one `Answer`; whoever has the conversation can take all the steps
again and stand where any other worker would. Three facts keep it true to what the caller heard:

- words that drew a reprompt were not understood: they change nothing;
- words whose answer nobody heard belong together with what the caller said next;
- a read-back counts as confirmed only by a yes that follows it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from calls.conversation import Message
from calls.events import ActionName
from workers.providers.receptionist import PLACE, Intent, Receptionist
from workers.providers.wording import words

Words = tuple[str, ...]

#: How much an example phrase and the caller's words must have in common, 0..1, to mean the same.
LIKENESS = 0.5


@dataclass(frozen=True, slots=True)
class State:
    """What the caller wants, and what is known of it."""

    intent: str | None = None
    slots: Mapping[str, str] = field(default_factory=dict)
    #: The read-back was asked: the next yes or no is about it.
    confirming: bool = False
    #: How often in a row the caller was not understood.
    misses: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said, and what is done once it was heard."""

    text: str
    action: ActionName | None = None
    #: So many characters from its beginning are spoken to their end, whatever the caller does.
    protected: int = 0
    #: Of the action.
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Heard:
    """What the rules find in the caller's words."""

    intent: str | None
    slots: Mapping[str, str]
    #: True for a yes, False for a no.
    consent: bool | None


class Dialogue:
    """Answers conversations by the rules of one receptionist."""

    def __init__(self, options: Receptionist) -> None:
        self._options = options
        self._examples = [
            (name, frozenset(words(PLACE.sub(" ", phrase))))
            for name, intent in options.intents.items()
            for phrase in intent.phrases
        ]
        known = {(name, word) for name, example in self._examples for word in example}
        #: In how many intents a word occurs: the rarer, the more it tells.
        self._spread = Counter(word for _, word in known)
        self._yes = [words(phrase) for phrase in options.yes]
        self._no = [words(phrase) for phrase in options.no]
        self._any_ways = _ways(options, ())
        self._ways = {
            name: _ways(options, intent.slots) for name, intent in options.intents.items()
        }

    def answer(self, conversation: Sequence[Message], confidence: float | None = None) -> Answer:
        """Answer the conversation's last line; `confidence` (0..1) is that of its transcript."""
        state, last = State(), ""
        for said, answered in exchanges(conversation):
            if answered is None:
                last = said
            elif self._is_reprompt(answered):
                state = replace(state, misses=state.misses + 1)
            else:
                state, _ = self.step(state, said)
        if confidence is not None and confidence < self._options.min_confidence:
            last = ""
        return self.step(state, last)[1]

    def step(self, state: State, said: str) -> tuple[State, Answer]:
        """Take in what the caller said: the state after it, and the answer."""
        heard = self.hear(said, state.intent)
        wanted = {name: value for name, value in heard.slots.items() if self._wants(state, name)}
        # "Yes, but on Wednesday" is no yes: what changes is read back again.
        changed = any(state.slots.get(name) != value for name, value in wanted.items())
        if state.intent and state.confirming and heard.consent and not changed:
            return State(), self._carry_out(self._options.intents[state.intent], state.slots)
        if heard.intent is not None and heard.intent != state.intent:
            return self._turn_to(state, heard.intent, heard.slots)
        if state.confirming and heard.consent is False and not changed:
            cleared = State(state.intent)
            return cleared, Answer(f"{self._options.again} {self._question(cleared)}")
        if wanted or heard.intent is not None:
            return self._go_on(replace(state, slots={**state.slots, **wanted}))
        return self._miss(state)

    def hear(self, said: str, intent: str | None = None) -> Heard:
        """Find intent, slot values and consent in the caller's words.

        `intent` is what the conversation is about: where two slots share a value, its own
        come first.
        """
        spoken = words(said)
        consent = None
        if any(_find(spoken, phrase) is not None for phrase in self._no):
            consent = False
        elif any(_find(spoken, phrase) is not None for phrase in self._yes):
            consent = True
        slots, rest = self._slots(spoken, intent)
        return Heard(self._intent(frozenset(rest)), slots, consent)

    def _slots(self, spoken: Words, intent: str | None) -> tuple[dict[str, str], list[str]]:
        found: dict[str, tuple[int, str]] = {}
        rest: list[str | None] = list(spoken)
        for way, name, value in self._ways[intent] if intent else self._any_ways:
            while (at := _find(rest, way)) is not None:
                rest[at : at + len(way)] = [None] * len(way)
                # The caller may correct themselves: "tuesday, no, wednesday".
                found[name] = max(found.get(name, (at, value)), (at, value))
        return {name: value for name, (_, value) in found.items()}, [w for w in rest if w]

    def _intent(self, spoken: frozenset[str]) -> str | None:
        best, name = max(((self._likeness(spoken, ex), name) for name, ex in self._examples))
        return name if best >= LIKENESS else None

    def _likeness(self, spoken: frozenset[str], example: frozenset[str]) -> float:
        """Dice's coefficient of two sets of words, each word weighed by how much it tells."""
        both = self._weight(spoken) + self._weight(example)
        return 2 * self._weight(spoken & example) / both if both else 0.0

    def _weight(self, some: frozenset[str]) -> float:
        # A word that no example has tells as little as one that half the intents share.
        unknown = max(1.0, len(self._options.intents) / 2)
        return sum(1 / (self._spread[word] or unknown) for word in some)

    def _wants(self, state: State, slot: str) -> bool:
        return state.intent is not None and slot in self._options.intents[state.intent].slots

    def _turn_to(self, state: State, name: str, slots: Mapping[str, str]) -> tuple[State, Answer]:
        intent = self._options.intents[name]
        if not intent.slots and intent.confirm is None:
            # A question in passing: it is answered, and what the caller wanted goes on.
            answer = self._carry_out(intent, {})
            question = self._question(state) if intent.then is None else ""
            return replace(state, misses=0), replace(
                answer, text=f"{answer.text} {question}".strip()
            )
        wanted = {slot: value for slot, value in slots.items() if slot in intent.slots}
        return self._go_on(State(name, wanted))

    def _go_on(self, state: State) -> tuple[State, Answer]:
        assert state.intent is not None
        intent = self._options.intents[state.intent]
        complete = all(slot in state.slots for slot in intent.slots)
        if complete and intent.confirm is None:
            return State(), self._carry_out(intent, state.slots)
        state = replace(state, confirming=complete, misses=0)
        return state, Answer(self._question(state))

    def _miss(self, state: State) -> tuple[State, Answer]:
        options = self._options
        missed = replace(state, misses=state.misses + 1)
        if options.give_up is not None and missed.misses >= options.patience:
            return missed, self._carry_out(options.intents[options.give_up], {})
        return missed, Answer(f"{options.reprompt} {self._question(state)}".strip())

    def _question(self, state: State) -> str:
        """What the caller is to answer next: a slot's question, or the read-back."""
        if state.intent is None:
            return ""
        intent = self._options.intents[state.intent]
        for slot in intent.slots:
            if slot not in state.slots:
                return self._options.slots[slot].ask
        return _filled(intent.confirm or "", state.slots)

    def _carry_out(self, intent: Intent, slots: Mapping[str, str]) -> Answer:
        said = _filled(intent.say, slots)
        protected = 0 if intent.interruptible else len(said)
        return Answer(said, intent.then, protected, intent.arguments)

    def _is_reprompt(self, answered: str) -> bool:
        # What the caller heard may have been cut short.
        reprompt = self._options.reprompt
        return answered.startswith(reprompt) or reprompt.startswith(answered)


def _ways(options: Receptionist, first: Sequence[str]) -> list[tuple[Words, str, str]]:
    """Each way to say a value, with its slot and the value.

    The longest come first, so that "half past nine" is not taken for "nine"; of ways that are
    equally long, those of the slots in `first`.
    """
    ways = [
        (words(way), name, value)
        for name, slot in options.slots.items()
        for value, spoken in slot.spoken.items()
        for way in spoken
    ]
    return sorted(ways, key=lambda way: (-len(way[0]), way[1] not in first))


def exchanges(conversation: Sequence[Message]) -> Iterator[tuple[str, str | None]]:
    """Pair what the caller said with what they heard in answer; None where that is still due.

    Lines without an answer between them are one thing said: the last pair is always the one to
    be answered, even if its words are "".
    """
    said: list[str] = []
    for role, text in conversation:
        if role == "user":
            said.append(text)
        elif role == "assistant" and said:
            yield " ".join(said), text
            said = []
    yield " ".join(said), None


def _filled(template: str, slots: Mapping[str, str]) -> str:
    return PLACE.sub(lambda place: slots[place[1]], template)


def _find(spoken: Sequence[str | None], phrase: Words) -> int | None:
    for at in range(len(spoken) - len(phrase) + 1):
        if tuple(spoken[at : at + len(phrase)]) == phrase:
            return at
    return None
