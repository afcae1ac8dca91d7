"""Every call ends in one of a few words, whoever ended it and over whatever carrier."""

from __future__ import annotations

from enum import StrEnum


class Ending(StrEnum):
    """Why a call is over."""

    CALLER_HUNG_UP = "caller_hung_up"
    AGENT_HUNG_UP = "agent_hung_up"
    TOO_LONG = "too_long"  # it reached the longest time a call may last
    TRANSFERRED = "transferred"  # the caller speaks to somebody else now
    CANCELLED = "cancelled"  # whoever called gave up before the answer
    BUSY = "busy"  # outbound: 486 or 600
    NO_ANSWER = "no_answer"  # outbound: it rang, and nobody answered in time
    REJECTED = "rejected"  # outbound: whoever was called, or the trunk, will not have the call
    UNREACHABLE = "unreachable"  # outbound: no such number, or no way there
    REFUSED = "refused"  # no common codec, no agent for the number, no room
    NO_ACK = "no_ack"  # our 200 was never acknowledged (RFC 3261 13.3.1.4)
    MEDIA_TIMEOUT = "media_timeout"  # the caller's audio stopped and no BYE came
    BUS_LOST = "bus_lost"  # the log could not be written for too long
    SHUTDOWN = "shutdown"  # the ingress was told to stop, and its patience ran out
    INGRESS_LOST = "ingress_lost"  # the ingress died with the call; written by the recorder
    FAILED = "failed"  # our own mistake; the log says which


#: Endings that a supervisor should look at.
FAULTS = frozenset(
    {
        Ending.UNREACHABLE,
        Ending.NO_ACK,
        Ending.MEDIA_TIMEOUT,
        Ending.BUS_LOST,
        Ending.INGRESS_LOST,
        Ending.FAILED,
    }
)
