"""What the agent wants done in a call, in order: each once its reply has been heard, and once."""

from __future__ import annotations

from collections.abc import Callable

from calls.events import ActionName, ActionRequested
from calls.ids import ReplyId, turn_of


class Actions:
    """One call's actions: those that wait for their reply to be heard, and the one under way."""

    def __init__(self) -> None:
        self.under_way: ActionRequested | None = None
        self._waiting: list[ActionRequested] = []
        #: All that were ever asked for here: a log that is read again asks again.
        self._known: set[str] = set()

    def ask(self, request: ActionRequested) -> None:
        """Do this once its reply has been heard."""
        if request.key not in self._known:
            self._known.add(request.key)
            self._waiting.append(request)

    def begin(self, heard: Callable[[ReplyId], bool]) -> ActionRequested | None:
        """Take the action that is due, if one is: it is under way then.

        One waits for the one before it to be done: a hangup must not cut off the digits. Only the
        caller who says goodbye during a transfer, which is another reply's, is let go at once.
        """
        busy = self.under_way
        for request in self._waiting:
            frees = request.action == "hangup" and busy is not None and busy.reply != request.reply
            if (busy is None or frees) and heard(request.reply):
                self._waiting.remove(request)
                self.under_way = request
                return request
        return None

    def end(self, reply: ReplyId, action: ActionName) -> ActionRequested | None:
        """The action under way has been done, or cannot be; None if this is another one."""
        ended = self.under_way
        if ended is None or (ended.reply, ended.action) != (reply, action):
            return None
        self.under_way = None
        return ended

    def withdraw(self, reply: ReplyId) -> list[ActionRequested]:
        """Nobody wants any more what this reply asked for. Returns what that was."""
        return self._drop(lambda request: request.reply == reply)

    def drop_before(self, turn: int) -> None:
        """Nobody wants any more what replies to turns before this one asked for."""
        self._drop(lambda request: turn_of(request.reply) < turn)

    def _drop(self, unwanted: Callable[[ActionRequested], bool]) -> list[ActionRequested]:
        dropped = [request for request in self._waiting if unwanted(request)]
        self._waiting = [request for request in self._waiting if not unwanted(request)]
        return dropped
