"""What an ingress knows of the pools, and when it knows nothing."""

from __future__ import annotations

from typing import Any, cast

import pytest
from redis.asyncio import Redis

from bus.pools import Picture, PoolWatch, Queue
from bus.presence import Process
from bus.topics import POOLS, PoolName

ALL = ("asr", "llm", "tts", "recorder")


class Watched:
    """A watch whose time and pictures are the test's. Each pool has one process, for 4 jobs."""

    def __init__(self) -> None:
        self.now = 100.0
        nobody = cast(Any, Redis())
        self.watch = PoolWatch(nobody, nobody, lambda: self.now, grace_s=10.0, max_lag_s=3.0)
        self.there: tuple[str, ...] = ALL
        self.queues: dict[PoolName, Queue] = {pool: Queue() for pool in POOLS}

    def look(self) -> None:
        processes = tuple(Process(role, 1, "host", 0.0, capacity=4) for role in self.there)
        self.watch.take(Picture(self.now, processes, dict(self.queues)))

    def pass_(self, seconds: int) -> None:
        """Time passes, with a picture each second."""
        for _ in range(seconds):
            self.now += 1
            self.look()


@pytest.fixture
def watched() -> Watched:
    watched = Watched()
    watched.look()
    watched.pass_(3)
    return watched


def test_calls_are_let_in_while_there_is_capacity_that_nobody_else_is_about_to_take(
    watched: Watched,
) -> None:
    watched.queues["asr"] = Queue(jobs=2)
    watched.pass_(1)
    assert watched.watch.shortage(coming=1) is None
    assert watched.watch.shortage(coming=2) == "pool_full"
    watched.there = (*ALL, "asr")
    watched.pass_(1)
    assert watched.watch.shortage(coming=5) is None
    assert watched.watch.shortage(coming=6) == "pool_full"


@pytest.mark.parametrize("pool", ["llm", "tts"])
def test_a_backlog_that_callers_would_hear_as_silence_keeps_more_out(
    watched: Watched, pool: PoolName
) -> None:
    watched.queues[pool] = Queue(jobs=9, waiting=9, oldest_ms=3000)
    watched.pass_(1)
    assert watched.watch.shortage(0) is None
    watched.queues[pool] = Queue(jobs=1, waiting=1, oldest_ms=3001)
    watched.pass_(1)
    assert watched.watch.shortage(0) == "pool_late"


def test_calls_that_wait_to_be_recorded_keep_nobody_out(watched: Watched) -> None:
    watched.queues["recorder"] = Queue(jobs=500, waiting=496, oldest_ms=600_000)
    watched.there = ("asr", "llm", "tts")
    watched.pass_(60)
    assert watched.watch.missing == {"recorder"}
    assert watched.watch.shortage(0) is None


@pytest.mark.parametrize("pool", ["asr", "llm", "tts"])
def test_a_pool_may_be_away_for_as_long_as_a_restart_takes(watched: Watched, pool: str) -> None:
    watched.there = tuple(role for role in ALL if role != pool)
    watched.queues["llm"] = Queue(jobs=1, waiting=1, oldest_ms=9000 if pool == "llm" else 0)
    watched.pass_(1)
    assert watched.watch.missing == {pool}
    watched.pass_(9)
    assert watched.watch.shortage(0) is None
    watched.pass_(1)
    assert watched.watch.shortage(0) == "pool_missing"
    watched.there = ALL
    watched.queues["llm"] = Queue()
    watched.pass_(1)
    assert watched.watch.missing == frozenset()
    assert watched.watch.shortage(0) is None


def test_who_drains_takes_no_more_calls(watched: Watched) -> None:
    draining = Process("asr", 1, "host", 0.0, owned=3, capacity=0)
    watched.now += 1
    watched.watch.take(Picture(watched.now, (draining,), {}))
    assert "asr" in watched.watch.missing


def test_an_old_picture_tells_nothing_and_one_after_a_pause_tells_it_later() -> None:
    watched = Watched()
    assert watched.watch.missing == frozenset()
    watched.there = ()
    watched.look()
    assert watched.watch.missing == frozenset()  # nobody has had the time to show itself
    watched.pass_(3)
    assert watched.watch.missing == set(ALL)
    watched.now += 60
    assert watched.watch.missing == frozenset()
    assert watched.watch.shortage(0) is None
    watched.pass_(1)
    assert watched.watch.missing == frozenset()
    watched.pass_(2)
    assert watched.watch.missing == frozenset()
    watched.pass_(1)
    assert watched.watch.missing == set(ALL)
    assert watched.watch.shortage(0) is None  # the grace begins anew
    watched.pass_(10)
    assert watched.watch.shortage(0) == "pool_missing"
