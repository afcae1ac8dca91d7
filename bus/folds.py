"""Conversations kept up to date: a process folds each entry of a log once, however often asked.

`get` catches up with the log and answers; `follow` also keeps the fold current, entry by entry, and
tells a listener of each event. Both take entries by their id, so neither can fold one twice. A log
that no longer holds the entry read last was written anew (bus/restore.py), and is folded anew.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import structlog

from bus import topics
from bus.log import FIELD, CallLog, read_entry
from bus.restore import Kept, place
from bus.tail import Entries, Tail
from calls.conversation import Conversation
from calls.events import CallStarted, Event, TranscriptPartial
from calls.ids import CallId

Listener = Callable[[Event], None]

_log = structlog.get_logger(__name__)
_NOTHING: Final = (0, 0)


@dataclass(slots=True)
class Fold:
    """A conversation, and how far into the log it has come. It is shared: read it only."""

    conversation: Conversation = field(default_factory=Conversation)
    last_id: tuple[int, int] = _NOTHING
    listeners: list[Listener] = field(default_factory=list)
    #: Followers, those that are still catching up included: such a fold is not forgotten.
    followers: int = 0
    #: The log as it was written, where it is to be kept: without partial transcripts, which are
    #: many and soon stale.
    kept: list[Kept] | None = None

    @property
    def after(self) -> str:
        """The id to read on after."""
        return f"{self.last_id[0]}-{self.last_id[1]}"

    def take(self, entries: Entries) -> None:
        """Fold the entries that are new."""
        for entry_id, fields in entries:
            if (at := place(entry_id)) <= self.last_id:
                continue
            self.last_id = at
            event = read_entry(fields)
            if event is not None:
                self.conversation.apply(event)
                if self.kept is not None and not isinstance(event, TranscriptPartial):
                    self.kept.append((entry_id, fields[FIELD]))
                for listener in tuple(self.listeners):
                    try:
                        listener(event)
                    except Exception:
                        # The fold and its other listeners go on: what they know must stay whole.
                        _log.exception("log.listener_failed", kind=event.kind)


class Folds:
    """The conversations of the calls this process met last."""

    def __init__(self, log: CallLog, tail: Tail, *, keep: int = 512) -> None:
        self._log = log
        self._tail = tail
        self._keep = keep
        self._folds: OrderedDict[CallId, Fold] = OrderedDict()

    async def get(self, call: CallId) -> Fold:
        """The conversation as the log has it now."""
        fold = self._fold(call)
        await self._catch_up(call, fold)
        if fold.conversation.started is None and not fold.followers:
            self._folds.pop(call, None)  # of a log without its beginning, the rest may come yet
        return fold

    @asynccontextmanager
    async def follow(
        self, call: CallId, listener: Listener, *, keep: bool = False
    ) -> AsyncIterator[Fold]:
        """Keep the conversation current; `listener` hears of each event after what was there.

        It is called on the event loop, after the event was folded, and must not block. `keep`: the
        fold keeps the log as it was written, too; ask for it before anybody else follows.
        """
        fold = self._fold(call)
        if keep and fold.kept is None:
            fold = self._folds[call] = Fold(kept=[])
        key = topics.events(call)
        fold.followers += 1
        try:
            await self._catch_up(call, fold)
            if not fold.listeners:
                self._tail.follow(key, fold.after, fold.take)
            fold.listeners.append(listener)
            try:
                yield fold
            finally:
                fold.listeners.remove(listener)
                if not fold.listeners:
                    self._tail.drop(key, fold.take)
        finally:
            fold.followers -= 1

    async def _catch_up(self, call: CallId, fold: Fold) -> None:
        known = fold.last_id
        entries = await self._log.entries(call, fold.after, and_it=known != _NOTHING)
        if known != _NOTHING and (not entries or place(entries[0][0]) != known):
            entries = await self._log.entries(call)
            # Until it is written anew, what we remember is better than what is there.
            if fold.kept is None and fold.last_id == known and _begins(entries):
                fold.conversation, fold.last_id = Conversation(), _NOTHING
        fold.take(entries)

    def _fold(self, call: CallId) -> Fold:
        fold = self._folds.setdefault(call, Fold())
        self._folds.move_to_end(call)
        if len(self._folds) > self._keep:
            idle = (k for k, other in self._folds.items() if not other.followers and k != call)
            self._folds.pop(next(idle, CallId("")), None)
        return fold


def _begins(entries: Entries) -> bool:
    return bool(entries) and isinstance(read_entry(entries[0][1]), CallStarted)
