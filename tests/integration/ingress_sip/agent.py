"""What an agent wants, what the bus asks for, and what a call's log says of it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

from bus import topics
from bus.jobs import PlaceCall
from bus.session import BusSession
from calls import events as e
from calls.conversation import Conversation
from calls.ids import CallId, ReplyId, new_call_id
from ingress_sip.server import SipServer
from tests.integration.conftest import Eventually

#: The greeting's, which asks for all that an agent wants here.
REPLY = ReplyId("0.0")


async def place(server: SipServer, session: BusSession, number: str, **fields: Any) -> CallId:
    """Have a server call somebody, as the bus would.

    Raises:
        CannotPlaceError
    """
    call = new_call_id(time.time() * 1000, secrets.token_hex(5))
    owner = await session.log.claim(call, topics.DIAL_TASK)
    await server.place(PlaceCall(call=call, number=number, agent="silent", **fields), owner)
    return call


class Story:
    """A call's log."""

    def __init__(
        self, session: BusSession, eventually: Eventually[Any], call: CallId | None = None
    ) -> None:
        self._session = session
        self._eventually = eventually
        self._call = call

    @property
    def call(self) -> CallId:
        assert self._call is not None
        return self._call

    async def begins(self, server: SipServer) -> CallId:
        """Wait until the one call of a server is followed: what is asked for then is done."""
        await self._eventually(lambda: len(server._engine._following) == 1)
        [self._call] = server._engine._following
        return self._call

    async def entries(self) -> list[e.Event]:
        return await self._session.log.read(self.call)

    async def wants(self, action: e.ActionName, **arguments: str) -> None:
        """The agent asks for something, at the end of a reply without words."""
        await self._session.log.append(
            self.call,
            e.ReplyStarted(at=1, reply=REPLY),
            e.ActionRequested(at=1, reply=REPLY, action=action, arguments=arguments),
            e.ReplyEnded(at=1, reply=REPLY, sentences=0, why="complete"),
        )

    async def done(self) -> e.ActionDone:
        """What came of that."""

        async def found() -> e.ActionDone | None:
            all_done = [each for each in await self.entries() if isinstance(each, e.ActionDone)]
            return all_done[0] if all_done else None

        done: e.ActionDone = await self._eventually(found)
        return done

    async def ended(self) -> str:
        """Wait until the call is over, and say why."""

        async def over() -> str | None:
            ended = Conversation.of(await self.entries()).ended
            return ended.why.value if ended else None

        why: str = await self._eventually(over)
        return why

    async def started(self) -> e.CallStarted:
        first = (await self.entries())[0]
        assert isinstance(first, e.CallStarted)
        return first

    async def has(self, kind: str, count: int = 1) -> list[e.Event]:
        """Wait until there are so many entries of a kind."""

        async def enough() -> list[e.Event]:
            found = [each for each in await self.entries() if each.kind == kind]
            return found if len(found) >= count else []

        entries: list[e.Event] = await self._eventually(enough)
        return entries

    async def steps(self) -> list[int]:
        """The statuses that the log tells of the transfer."""
        return [
            each.status for each in await self.entries() if isinstance(each, e.TransferProgressed)
        ]


#: A call's story: `story(call)`.
NewStory = Callable[..., Story]
