"""Names on the bus."""

from __future__ import annotations

from bus import topics
from calls.ids import ReplyId
from tests.support.facts import CALL


def test_all_keys_of_a_call_share_its_hash_tag() -> None:
    keys = topics.call_keys(CALL)
    assert all(key.startswith(f"{{{CALL}}}:") for key in keys)
    assert len(set(keys)) == len(keys) == 5


def test_every_pool_has_its_own_queue_and_group() -> None:
    assert len({topics.jobs(pool) for pool in topics.POOLS}) == 4
    assert len({topics.group(pool) for pool in topics.POOLS}) == 4


def test_two_replies_are_two_tasks() -> None:
    assert topics.reply_task(ReplyId("1.0")) != topics.reply_task(ReplyId("1.1"))
