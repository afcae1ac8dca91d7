"""Two kinds of mistake: the peer's, which is answered (or not), and ours, which is a bug."""

from __future__ import annotations

from collections.abc import Iterable


class SipError(Exception):
    """The peer sent something wrong. Answer it with `status`, or drop it.

    `headers` are extra header fields that the answer must carry, such as `Unsupported` with 420.
    """

    def __init__(self, status: int, reason: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.headers = tuple(headers)


class IgnoredError(Exception):
    """The peer is not to be answered at all: whoever asks so is looking for somebody to talk to."""


class LocalProtocolError(Exception):
    """We were about to break the protocol: an action that could never be right in this state.

    Mend the caller. A call that the peer ended first is no such mistake: actions return False then.
    """
