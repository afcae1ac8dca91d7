"""Where phones are registered, kept on the bus while their ingress restarts.

Phones register again only when their time is nearly up: without this, a deploy would leave them
unreachable for minutes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from redis.asyncio import Redis

from bus import topics

#: Nothing that was registered longer ago is worth anything, s.
_TTL_S: Final = 3600


class Bindings:
    """One ingress's bindings; `place` is where it listens, the same before and after."""

    def __init__(self, redis: Redis, place: str) -> None:
        self._redis = redis
        self._key = topics.bindings(place)

    async def save(self, bindings: Sequence[Mapping[str, Any]]) -> None:
        """Keep what is registered now.

        Raises:
            BusError
        """
        seconds, micros = await self._redis.time()
        kept = {"at": seconds + micros / 1e6, "bindings": list(bindings)}
        await self._redis.set(self._key, json.dumps(kept), ex=_TTL_S)

    async def load(self) -> tuple[Sequence[Mapping[str, Any]], float]:
        """What was kept, and how long ago, s.

        Raises:
            BusError
            ValueError: somebody else wrote there.
        """
        kept = await self._redis.get(self._key)
        if not isinstance(kept, bytes):
            return (), 0.0
        read = json.loads(kept)
        seconds, micros = await self._redis.time()
        try:
            return list(read["bindings"]), max(0.0, seconds + micros / 1e6 - float(read["at"]))
        except (KeyError, TypeError) as error:
            raise ValueError("what is kept of the phones cannot be read") from error
