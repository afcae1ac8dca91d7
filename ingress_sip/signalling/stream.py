"""Messages out of a byte stream (RFC 3261 18.3), which keeps no boundaries: Content-Length does.

However the octets are split on their way, the same messages come out. A stream that cannot be
trusted to be cut rightly is over: what would follow could be anybody's words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum, auto
from typing import Final

from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.grammar import TOKEN, parse_digits
from ingress_sip.signalling.message import Request
from ingress_sip.signalling.parse import (
    MAX_LINE,
    MAX_MESSAGE,
    MalformedRequestError,
    parse_datagram,
)

MAX_HEAD: Final = 32_768  # octets, from the start line to the empty line

_BLANK: Final = b"\r\n"
# As the parser has it: two readers who differ about where a head ends see two messages.
_HEAD_END_RE = re.compile(rb"\r?\n\r?\n")
_HEAD_END_MOST: Final = 4
# A method or "SIP", of a length that bounds how long we wait to see it.
_BEGIN_MOST: Final = 64
_BEGIN_RE = re.compile(rb"(?=[^ /]{1,%d}[ /])%s[ /]" % (_BEGIN_MOST, TOKEN.encode()))
_LENGTH_RE = re.compile(
    rb"\n(?:Content-Length|l)[ \t]*:((?:[^\n]|\n[ \t])*)", re.IGNORECASE
)  # 7.3.1: a fold is a space


class KeepAlive(Enum):
    """Line ends between messages (RFC 5626 section 3.5.1)."""

    #: Two in a row: answer one CRLF.
    PING = auto()
    #: One: the answer to a ping of ours, or the first half of one of theirs.
    PONG = auto()


class StreamReader:
    """Cuts one connection's octets into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        #: How far the head was searched for its end.
        self._searched = 0
        #: The whole message's length, once its head is there.
        self._whole: int | None = None
        self._blank_lines = 0
        self._error: SipError | None = None

    @property
    def is_mid_message(self) -> bool:
        """Whether a message has begun that is not whole yet."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> Iterator[bytes | KeepAlive]:
        """What becomes whole by `data`, in order; go through all of it before you feed more.

        Raises, after everything that came before it: MalformedRequestError where the sender can be
        answered, else SipError. The connection is to be closed then; all that follows raises it
        again.
        """
        if self._error is not None:
            raise self._error
        self._buffer += data
        try:
            while self._buffer:
                yield from self._skip_blank_lines()
                message = self._next_message()
                if message is None:
                    return
                yield message
        except SipError as error:
            self._error = error
            self._buffer.clear()
            raise

    def _skip_blank_lines(self) -> Iterator[KeepAlive]:
        """7.5: empty lines before a start line are no part of it."""
        if self._buffer[0] not in _BLANK:
            return
        start = len(self._buffer) - len(self._buffer.lstrip(_BLANK))
        lines = self._buffer.count(b"\n", 0, start)
        del self._buffer[:start]
        for _ in range(lines):
            self._blank_lines += 1
            yield KeepAlive.PONG if self._blank_lines % 2 else KeepAlive.PING

    def _next_message(self) -> bytes | None:
        if not self._buffer:
            return None
        if self._whole is None:
            self._blank_lines = 0
            self._whole = self._measure()
        if self._whole is None or len(self._buffer) < self._whole:
            return None
        message = bytes(self._buffer[: self._whole])
        del self._buffer[: self._whole]
        self._whole, self._searched = None, 0
        return message

    def _measure(self) -> int | None:
        """The length of the message that the buffer begins with; None until its head is there."""
        if not self._searched:
            self._check_start()
        end = _HEAD_END_RE.search(self._buffer, max(0, self._searched - _HEAD_END_MOST))
        if (end.end() if end else len(self._buffer)) > MAX_HEAD:
            raise SipError(513, "Message Too Large")
        if end is None:
            # The start line is looked at again until it is there.
            self._searched = len(self._buffer) if b"\n" in self._buffer else 0
            return None
        head = bytes(self._buffer[: end.end()])
        try:
            return len(head) + _content_length(head, MAX_MESSAGE - len(head))
        except SipError as error:
            raise _addressed(error, head) from error

    def _check_start(self) -> None:
        """Refuse what is no SIP (HTTP, a TLS hello, noise) by its first line, not by time."""
        line, newline, _ = bytes(self._buffer[:MAX_LINE]).partition(b"\n")
        is_whole = bool(newline) or len(line) == MAX_LINE
        seen = line if is_whole or len(line) > _BEGIN_MOST else line + b" "
        if not _BEGIN_RE.match(seen) or (is_whole and b"SIP/" not in line.upper()):
            raise SipError(400, "Not SIP")


def _content_length(head: bytes, most: int) -> int:
    """18.3: on a stream it is a must, and only one (two would cut two ways)."""
    values = _LENGTH_RE.findall(head)
    if not values:
        raise SipError(400, "Missing Content-Length")
    if len(values) > 1:
        raise SipError(400, "Repeated Content-Length")
    value = b" ".join(values[0].split()).decode("ascii", "replace")
    length = parse_digits(value, 2**31, "Content-Length")
    if length > most:
        raise SipError(513, "Message Too Large")
    return length


def _addressed(error: SipError, head: bytes) -> SipError:
    """The error with the header fields that its answer needs, where there is to be one."""
    try:
        message = parse_datagram(head)
    except MalformedRequestError as malformed:
        return MalformedRequestError(error, malformed.request_headers)
    except SipError:
        return error
    if isinstance(message, Request) and message.method != "ACK":
        return MalformedRequestError(error, message.headers)
    return error
