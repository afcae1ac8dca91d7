"""The audio of one call: frames out at their time, packets in with theirs.

A packet's time is the kernel's where it tells us (Linux): then a busy phone does not take its own
lateness for the far end's.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from trunkline.phone.uac import Address

FRAME: Final = 160
"""Bytes of PCMU in 20 ms."""
SILENCE: Final = b"\xff" * FRAME

_RTP: Final = struct.Struct(">BBHII")
_LARGEST: Final = 2048
_RECEIVE_BUFFER: Final = 1 << 20
_SO_TIMESTAMPNS: Final = 35  # asm-generic/socket.h
_TIMESPEC: Final = struct.Struct("@qq")


class Packet(NamedTuple):
    """A packet of PCMU as it came: `at` is the wall clock, s."""

    at: float
    sequence: int
    timestamp: int
    payload: bytes


class Line:
    """One RTP socket."""

    def __init__(self, on_packet: Callable[[Packet], None]) -> None:
        self.packets: list[Packet] = []
        self._on_packet = on_packet
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._stamped = sys.platform == "linux"
        if self._stamped:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.bind(("127.0.0.1", 0))
        self._to: Address | None = None
        self._sent = 0
        self._sequence = secrets.randbits(16)
        self._timestamp = secrets.randbits(32)
        self._ssrc = secrets.randbits(32)

    @property
    def port(self) -> int:
        """Where audio is to be sent to us."""
        return int(self._socket.getsockname()[1])

    def open(self, to: Address) -> None:
        """The call is answered: audio flows to there, and from now on is received."""
        self._to = to
        asyncio.get_running_loop().add_reader(self._socket, self._readable)

    def close(self) -> None:
        """Give the port back; what came is kept."""
        if self._to is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def send(self, payload: bytes) -> None:
        """Send the next 20 ms."""
        if self._to is None:
            return
        header = _RTP.pack(
            0x80,
            0,
            (self._sequence + self._sent) & 0xFFFF,
            (self._timestamp + self._sent * FRAME) & 0xFFFFFFFF,
            self._ssrc,
        )
        self._sent += 1
        try:
            self._socket.sendto(header + payload, self._to)
        except OSError:
            return  # lost, as any packet may be

    def _readable(self) -> None:
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(_LARGEST, 64)
            except OSError:
                return
            at = time.time()
            if ancillary:
                seconds, nanoseconds = _TIMESPEC.unpack_from(ancillary[0][2])
                at = seconds + nanoseconds / 1e9
            if (packet := parse(data, at)) is not None:
                self.packets.append(packet)
                self._on_packet(packet)


def parse(datagram: bytes, at: float) -> Packet | None:
    """Read an RTP packet of PCMU (RFC 3550 section 5.1); None for anything else."""
    if len(datagram) < _RTP.size:
        return None
    first, second, sequence, timestamp, _ = _RTP.unpack_from(datagram)
    if first >> 6 != 2 or second & 0x7F != 0:
        return None
    return Packet(at, sequence, timestamp, datagram[_RTP.size + 4 * (first & 0x0F) :])
