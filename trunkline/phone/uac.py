"""A minimal SIP user agent client: one call over UDP, placed and ended (RFC 3261)."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable
from typing import Final

Address = tuple[str, int]

_T1_S: Final = 0.5
#: Timer B: how long a request waits for its answer (section 17.1.1.2).
_TIMEOUT_S: Final = 64 * _T1_S

_CONTACT: Final = re.compile(r"<?(sip:[^>;\s]+)")
_C_LINE: Final = re.compile(r"^c=IN IP4 (\S+)", re.MULTILINE)
_M_LINE: Final = re.compile(r"^m=audio (\d+)", re.MULTILINE)


class CallFailedError(Exception):
    """The call did not come about; the message holds the status or says what was missing."""


class Uac(asyncio.DatagramProtocol):
    """One call."""

    def __init__(
        self, server: Address, called: str, caller: str, on_bye: Callable[[], None]
    ) -> None:
        """`on_bye` is called when the far end hangs up."""
        self.call_id = secrets.token_hex(12)
        self._server = server
        self._target = f"sip:{called}@{server[0]}:{server[1]}"
        self._to = f"<{self._target}>"
        self._from = f"<sip:{caller}@phone.invalid>;tag={secrets.token_hex(6)}"
        self._on_bye = on_bye
        self._transport: asyncio.DatagramTransport | None = None
        self._cseq = 0
        self._ack = ""
        self._answers: asyncio.Queue[tuple[int, dict[str, str], str]] = asyncio.Queue()

    async def open(self) -> None:
        """Take a port."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0), remote_addr=self._server
        )

    async def invite(self, rtp_port: int) -> Address:
        """Place the call, offering PCMU at `rtp_port`; returns where our audio is to go.

        Raises:
            CallFailedError
        """
        sdp = (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            f"m=audio {rtp_port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=sendrecv\r\n"
        )
        self._cseq += 1
        branch = _branch()
        status, fields, body = await self._transact(self._request("INVITE", branch, sdp))
        self._to = fields.get("to", self._to)
        if status >= 300:
            # The ACK of a refusal belongs to the INVITE's transaction (section 17.1.1.3).
            self._send(self._request("ACK", branch))
            raise CallFailedError(f"INVITE was answered with {status}")
        if found := _CONTACT.search(fields.get("contact", "")):
            self._target = found[1]
        self._ack = self._request("ACK", _branch())
        self._send(self._ack)
        host, port = _C_LINE.search(body), _M_LINE.search(body)
        if host is None or port is None:
            raise CallFailedError(f"no address for audio in the answer: {body!r}")
        return host[1], int(port[1])

    async def bye(self) -> None:
        """Hang up.

        Raises:
            CallFailedError: nobody answered.
        """
        self._cseq += 1
        await self._transact(self._request("BYE", _branch()))

    def close(self) -> None:
        """Give the port back."""
        if self._transport is not None:
            self._transport.close()

    async def _transact(self, request: str) -> tuple[int, dict[str, str], str]:
        """Send until something answers, and wait for the final answer."""
        again = _T1_S
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                self._send(request)
                while True:
                    try:
                        async with asyncio.timeout(again):
                            answer = await self._answers.get()
                    except TimeoutError:
                        self._send(request)
                        again = min(2 * again, 4.0)
                        continue
                    if answer[0] >= 200:
                        return answer
                    again = _TIMEOUT_S
        except TimeoutError:
            raise CallFailedError(f"no answer to {request.split(maxsplit=1)[0]}") from None

    def _request(self, method: str, branch: str, sdp: str = "") -> str:
        assert self._transport is not None
        host, port = self._transport.get_extra_info("sockname")
        lines = [
            f"{method} {self._target} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};branch={branch}",
            "Max-Forwards: 70",
            f"From: {self._from}",
            f"To: {self._to}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {self._cseq} {method}",
            f"Contact: <sip:phone@{host}:{port}>",
            *(["Content-Type: application/sdp"] if sdp else []),
            f"Content-Length: {len(sdp)}",
        ]
        return "\r\n".join(lines) + "\r\n\r\n" + sdp

    def _send(self, message: str) -> None:
        assert self._transport is not None
        self._transport.sendto(message.encode())

    def datagram_received(self, data: bytes, addr: Address) -> None:  # noqa: ARG002
        """Take a message of the far end."""
        head, _, body = data.decode("utf-8", "replace").partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        fields = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        if not first.startswith("SIP/2.0 "):
            self._requested(first.split(" ")[0], fields)
            return
        status = int(first.split(" ")[1])
        number, _, method = fields.get("cseq", "").partition(" ")
        if method == "INVITE" and status >= 200 and self._ack:
            self._send(self._ack)  # a 200 sent again: our ACK was lost (section 13.2.2.4)
        elif number == str(self._cseq):
            self._answers.put_nowait((status, fields, body))

    def _requested(self, method: str, fields: dict[str, str]) -> None:
        if method == "ACK":
            return
        status = "200 OK" if method in ("BYE", "OPTIONS") else "501 Not Implemented"
        copied = "".join(
            f"{name.title()}: {fields[name]}\r\n"
            for name in ("via", "from", "to", "call-id", "cseq")
            if name in fields
        )
        self._send(f"SIP/2.0 {status}\r\n{copied}Content-Length: 0\r\n\r\n")
        if method == "BYE":
            self._on_bye()


def _branch() -> str:
    return "z9hG4bK" + secrets.token_hex(8)
