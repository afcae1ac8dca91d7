"""`trunkline call`: has an ingress place a call, and tells how it goes."""

from __future__ import annotations

import asyncio
import secrets
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Final

from pydantic import ValidationError

from bus.dialling import Dial
from bus.jobs import PlaceCall
from bus.session import BusSession, open_session
from calls.conversation import Conversation
from calls.events import CallAnswered, CallRinging, Event, TransferProgressed
from calls.ids import CallId, new_call_id
from trunkline.buses import open_bus, with_bus
from trunkline.errors import UserError
from trunkline.settings import Settings
from trunkline.transcript import Transcript

#: How long an ingress has to take the call, s.
_TAKE_S: Final = 5.0
#: An ingress's refusal is looked for this often, s.
_LOOK_S: Final = 0.1
#: How long the last words of a call, and the end of one that was cancelled, are waited for, s.
_LAST_WORDS_S: Final = 3.0

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What became of the call."""

    call: CallId
    #: Somebody, or something, picked up.
    answered: bool
    #: A `calls.ending.Ending`; None if it goes on.
    ending: str | None
    #: From the answer to the end.
    seconds: float | None
    #: [{caller, agent}], in order.
    turns: tuple[dict[str, str], ...] = ()

    @property
    def status(self) -> int:
        """The command's exit status: 0 answered, or still under way; 1 otherwise."""
        return 0 if self.answered or self.ending is None else 1

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def pairs(given: Iterable[str]) -> dict[str, str]:
    """Read NAME=VALUE.

    Raises:
        UserError: one is not written so.
    """
    read = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals:
            raise UserError(f"--var {each}: write NAME=VALUE")
        read[name] = value
    return read


def order(**fields: Any) -> PlaceCall:
    """The call to be placed, named now.

    Raises:
        UserError: a field is not as it should be.
    """
    call = new_call_id(time.time() * 1000, secrets.token_hex(5))
    try:
        return PlaceCall(call=call, take_within_s=_TAKE_S, **fields)
    except ValidationError as error:
        wrong = (
            f"{'.'.join(map(str, each['loc']))}: {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors()
        )
        raise UserError("\n".join(wrong)) from error


async def place(settings: Settings, job: PlaceCall, tell: Tell, *, wait: bool) -> Placed:
    """Have the call placed, and follow it to its end, or, without `wait`, to its beginning.

    SIGINT hangs it up; a second one leaves it to itself.

    Raises:
        UserError: there is no bus, no ingress took the call, or one refused it.
    """
    async with open_bus(settings):
        pass  # it is there: a session would wait for it, and say nothing
    async with open_session(with_bus(settings).bus_url or "") as session:
        call = _Call(session, job, tell)
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, call.interrupted)
        return await call.run(wait=wait)


class _Call:
    """One call, as its asker sees it."""

    def __init__(self, session: BusSession, job: PlaceCall, tell: Tell) -> None:
        self._session = session
        self._dial = Dial(session)
        self._job = job
        self._tell = tell
        self._transcript = Transcript(tell)
        self._conversation = Conversation()
        self._changed = asyncio.Event()
        self._interrupts = 0

    def interrupted(self) -> None:
        """Ctrl-C."""
        self._interrupts += 1
        self._changed.set()

    async def run(self, *, wait: bool) -> Placed:
        call = self._job.call
        self._tell(f"dialling {self._job.number} ({call})")
        async with self._session.folds.follow(call, self._happened) as fold:
            self._conversation = fold.conversation
            await self._dial.ask(self._job)
            await self._taken()
            if wait:
                await self._over()
            return _placed(call, self._conversation)

    async def _taken(self) -> None:
        """Wait until an ingress has begun the call."""
        deadline = time.monotonic() + _TAKE_S
        while self._conversation.started is None:
            if self._interrupts:
                await self._dial.cancel(self._job.call)
                raise UserError("cancelled before any ingress had taken the call")
            if (reason := await self._dial.refusal(self._job.call)) is not None:
                raise UserError(f"the call was not placed: {reason}")
            if time.monotonic() > deadline:
                await self._dial.cancel(self._job.call)
                role = "sip" if self._job.carrier == "sip" else "web"
                raise UserError(f"no ingress took the call: is `trunkline {role}` running?")
            await self._change(_LOOK_S)

    async def _over(self) -> None:
        """Tell what happens until the call is over."""
        conversation, cancelled = self._conversation, False
        while conversation.ended is None:
            if self._interrupts > 1:
                return
            if self._interrupts and not cancelled:
                cancelled = True
                self._tell("cancelling (again to leave it to itself)")
                await self._dial.cancel(self._job.call)
            await self._change()
        deadline = time.monotonic() + _LAST_WORDS_S
        while conversation.answered_at is not None and not conversation.heard_to_the_end:
            if time.monotonic() > deadline:
                break
            await self._change(_LOOK_S)
        seconds = _placed(self._job.call, conversation).seconds
        lasted = "" if seconds is None else f" after {seconds:.1f} s"
        why = conversation.ended.why.value.replace("_", " ").replace("caller", "callee")
        self._tell(f"{why}{lasted}")

    def _happened(self, event: Event) -> None:
        match event:
            case CallRinging():
                self._tell("ringing, with sound" if event.early_media else "ringing")
            case CallAnswered():
                self._tell("answered")
            case TransferProgressed():
                self._tell(f"  transfer to {event.target}: {event.status} {event.text}".rstrip())
            case _:
                self._transcript.show(self._conversation)
        self._changed.set()

    async def _change(self, timeout_s: float | None = None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        self._changed.clear()


def _placed(call: CallId, conversation: Conversation) -> Placed:
    ended, answered_at = conversation.ended, conversation.answered_at
    seconds = (ended.at - answered_at) / 1000 if ended and answered_at is not None else None
    return Placed(
        call=call,
        answered=answered_at is not None,
        ending=ended.why.value if ended else None,
        seconds=None if seconds is None else round(seconds, 1),
        turns=tuple(
            {"caller": turn.text, "agent": turn.reply.heard_text if turn.reply else ""}
            for _, turn in sorted(conversation.turns.items())
        ),
    )
