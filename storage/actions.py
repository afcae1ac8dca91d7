"""What the agent had done, as it is kept. Pure, as record.py is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Self

from calls import events as e
from calls.conversation import Conversation
from storage.turns import moment


class Step(NamedTuple):
    """A step of a transfer: a SIP status and its words, so long after it was asked for, ms."""

    after_ms: float
    status: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRecord:
    """Something the agent wanted done, and what came of it."""

    #: In the order in which the call's actions were asked for, from 0.
    number: int
    #: The turn whose answer asked for it.
    turn: int
    #: A `calls.events.ActionName`. Text, as an old row may hold an old word.
    action: str
    #: As `calls.events.ActionRequested` has them: a transfer's target, the digits.
    arguments: Mapping[str, str]
    asked_at: datetime
    #: When it was done, or had failed; None if it never came to that.
    done_at: datetime | None
    #: "done" or "failed"; None: the call ended before, or the caller spoke over the answer.
    outcome: str | None
    #: For people: "486 Busy Here".
    detail: str
    status: int | None
    #: Of a transfer, in order.
    steps: tuple[Step, ...]

    @classmethod
    def of(
        cls, number: int, turn: int, request: e.ActionRequested, conversation: Conversation
    ) -> Self:
        outcome = conversation.outcomes.get((request.reply, request.action, request.index))
        steps = conversation.steps if request.action == "transfer" else []
        return cls(
            number=number,
            turn=turn,
            action=request.action,
            arguments=request.arguments,
            asked_at=moment(request.at),
            done_at=moment(outcome.at) if outcome else None,
            outcome=outcome.outcome if outcome else None,
            detail=outcome.detail if outcome else "",
            status=outcome.status if outcome else None,
            steps=tuple(
                Step(round(step.at - request.at, 1), step.status, step.text)
                for step in steps
                if step.reply == request.reply and step.target == request.arguments.get("target")
            ),
        )

    @classmethod
    def all_of(cls, conversation: Conversation) -> tuple[Self, ...]:
        """All that were asked for by answers that counted."""
        asked = sorted(_asked(conversation), key=lambda one: one[1].at)
        return tuple(
            cls.of(number, turn, request, conversation)
            for number, (turn, request) in enumerate(asked)
        )


def _asked(conversation: Conversation) -> Iterator[tuple[int, e.ActionRequested]]:
    for number, turn in conversation.turns.items():
        if turn.reply is not None:
            for request in turn.reply.actions:
                yield number, request
