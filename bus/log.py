"""The call's log: written once per fact, in order; read from any place.

One script does every write, so that what belongs together lands together: the events, the owner's
checkpoint, and the trim of audio that nobody needs again. A writer that has been taken over (its
epoch is old) is refused, whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from bus import topics
from bus.events import WireError, decode, encode
from bus.tail import Entries
from calls.events import AnyEvent, Event
from calls.ids import CallId

_logger = structlog.get_logger(__name__)

FIELD: Final = b"e"
BEGIN: Final = "0-0"

#: How every script writes facts, each once: from ARGV[from] on their keys and events, alternating.
#: ARGV[1] is the log's time to live, s.
APPEND_FACTS: Final = """
local function append(log, facts, from)
  local written = 0
  for i = from, #ARGV, 2 do
    if redis.call('SADD', facts, ARGV[i]) == 1 then
      redis.call('XADD', log, '*', 'e', ARGV[i + 1])
      written = written + 1
    end
  end
  if written > 0 then
    redis.call('EXPIRE', log, ARGV[1])
    redis.call('EXPIRE', facts, ARGV[1])
  end
  return written
end
"""

# KEYS: events, facts, owners, in.
# ARGV: ttl s, task, epoch, checkpoint, trim id, an entry that must be there, then a fact's key and
# its event, alternating.
_APPEND: Final = f"""{APPEND_FACTS}
if ARGV[2] ~= '' then
  if redis.call('HGET', KEYS[3], ARGV[2] .. ':epoch') ~= ARGV[3] then
    return redis.error_reply('STALE ' .. ARGV[2])
  end
  if ARGV[4] ~= '' then
    redis.call('HSET', KEYS[3], ARGV[2] .. ':checkpoint', ARGV[4])
  end
  redis.call('EXPIRE', KEYS[3], ARGV[1])
end
if ARGV[6] ~= '' and #redis.call('XRANGE', KEYS[1], ARGV[6], ARGV[6]) == 0 then
  return redis.error_reply('LOST ' .. ARGV[6])
end
local written = append(KEYS[1], KEYS[2], 7)
if ARGV[5] ~= '' then
  redis.call('XTRIM', KEYS[4], 'MINID', '~', ARGV[5])
end
return written
"""

#: The head of a write that needs no owner: task, epoch, checkpoint, trim id.
_UNOWNED: Final = ("", "", "", "")

# KEYS: owners. ARGV: ttl s, task. The first epoch is the server's time, us: on a bus that lost its
# data no epoch comes again, for its owner may still be at work.
_CLAIM: Final = """
local field = ARGV[2] .. ':epoch'
if redis.call('HEXISTS', KEYS[1], field) == 0 then
  local now = redis.call('TIME')
  redis.call('HSET', KEYS[1], field, string.format('%.0f', now[1] * 1000000 + now[2]))
end
local epoch = redis.call('HINCRBY', KEYS[1], field, 1)
redis.call('EXPIRE', KEYS[1], ARGV[1])
return {epoch, redis.call('HGET', KEYS[1], ARGV[2] .. ':checkpoint')}
"""


class SupersededError(Exception):
    """Another worker has taken this task over: stop, it goes on from the last checkpoint."""


class LogLostError(Exception):
    """The bus lost what was in this log: write it anew (bus/restore.py), then try again."""


@dataclass(frozen=True, slots=True)
class Ownership:
    """The right to write for one task of a call, until somebody else claims it."""

    call: CallId
    task: str
    epoch: int
    #: What the previous owner left, or None.
    checkpoint: dict[str, Any] | None


class CallLog:
    """Writes and reads the logs of calls."""

    def __init__(self, redis: Redis, *, ttl_s: int = topics.CALL_TTL_S) -> None:
        self._redis = redis
        self._ttl_s = ttl_s
        self._append = redis.register_script(_APPEND)
        self._claim = redis.register_script(_CLAIM)

    async def claim(self, call: CallId, task: str) -> Ownership:
        """Become the owner of a task: whoever owned it before can write no more."""
        epoch, checkpoint = await self._claim(keys=[topics.owners(call)], args=[self._ttl_s, task])
        return Ownership(call, task, epoch, json.loads(checkpoint) if checkpoint else None)

    async def append(self, call: CallId, *events: Event, seen: bytes = b"") -> None:
        """Write facts that need no owner: the ingress is the only one who knows them.

        Args:
            seen: The id of an entry that was in the log; it must be there still.

        Raises:
            LogLostError: it is not, and nothing was written.
        """
        try:
            await self._write(call, _UNOWNED, events, seen)
        except ResponseError as error:
            if str(error).startswith("LOST"):
                raise LogLostError(call) from error
            raise

    async def commit(
        self,
        owner: Ownership,
        *events: Event,
        checkpoint: dict[str, Any] | None = None,
        trim_before: str = "",
    ) -> None:
        """Write facts, the checkpoint they bring the task to, and a trim of `{call}:in`, as one.

        Raises:
            SupersededError: nothing was written.
        """
        try:
            head: list[str | int] = [
                owner.task, owner.epoch, _json(checkpoint), trim_before
            ]  # fmt: skip
            await self._write(owner.call, head, events)
        except ResponseError as error:
            if str(error).startswith("STALE"):
                raise SupersededError(f"{owner.task} of {owner.call}") from error
            raise

    async def _write(
        self, call: CallId, head: Sequence[str | int], events: Iterable[Event], seen: bytes = b""
    ) -> None:
        args: list[str | int | bytes] = [self._ttl_s, *head, seen]
        for event in events:
            args += [event.key, encode(event)]
        keys = [
            topics.events(call), topics.facts(call), topics.owners(call), topics.audio_in(call)
        ]  # fmt: skip
        await self._append(keys=keys, args=args)

    async def entries(self, call: CallId, after: str = BEGIN, *, and_it: bool = False) -> Entries:
        """The log's entries after an id; `and_it`: with the entry of that id."""
        first = after if and_it else f"({after}"
        entries: Any = await self._redis.xrange(topics.events(call), min=first)
        return cast(Entries, entries)

    async def read(self, call: CallId) -> list[AnyEvent]:
        """The whole log; what we cannot read, and kinds we do not know, are left out."""
        events = (read_entry(fields) for _, fields in await self.entries(call))
        return [event for event in events if event is not None]

    async def expire(self, call: CallId, seconds: int) -> None:
        """Let a recorded call's keys go."""
        pipe = self._redis.pipeline(transaction=False)
        for key in topics.call_keys(call):
            pipe.expire(key, seconds)
        await pipe.execute()


def _json(checkpoint: dict[str, Any] | None) -> str:
    return "" if checkpoint is None else json.dumps(checkpoint)


def read_entry(fields: dict[bytes, bytes]) -> AnyEvent | None:
    """The event in an entry of a log; None for a kind we do not know, and for no event at all."""
    try:
        return decode(fields.get(FIELD, b""))
    except WireError as error:
        _logger.warning("log.unreadable_entry", error=str(error))
        return None
