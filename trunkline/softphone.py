"""A softphone that owes nothing to our own SIP and RTP: pyVoIP 1.6.8, the extra `phone`.

It is the demo's caller and an interoperability peer (docs/adr/0005). It is GPL and made of threads,
so it runs in a process of its own, `trunkline dial`. What it needs to be led around:

- it registers when it starts, which a peer-to-peer call does not want;
- its INVITE waits for 100 or 180 and for nothing else;
- it begins to listen 1 s after its start, and forgets an answer that comes before it has noted the
  call: we start its threads ourselves, or the greeting's first words would be lost;
- it knows no final answer but 200, 404 and 503, and prints a line on stdout for the others;
- its Call-ID and branch are a hash of a counter, so two phones on one port are one to a server;
- its audio is 8-bit linear. We write that, at full level, and read the packets' own bytes instead.
"""

from __future__ import annotations

import re
import secrets
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from media.frames import SAMPLE_RATE, Codec, Samples, to_samples
from media.wav import WavError, read_mono
from trunkline.addresses import free_udp_port, local_address_towards
from trunkline.errors import UserError
from trunkline.heard import HeardAudio

_ANSWER_SECONDS = 10.0
_POLL_SECONDS = 0.02
_PEAK = 0.9 * 127
_URI = re.compile(r"sips?:(?P<user>[^@\s:;]+)@(?P<host>[^:;\s\[\]]+)(:(?P<port>\d{1,5}))?(;.*)?")
_CODECS = {0: Codec.PCMU, 8: Codec.PCMA}  # RFC 3551 6


class CallRefusedError(UserError):
    """The other side did not take the call. The message holds its answer."""


class Target(NamedTuple):
    """Whom to call."""

    user: str
    host: str
    port: int


def parse_uri(uri: str) -> Target:
    """Read a SIP URI.

    Raises:
        UserError: it is none that this phone can call.
    """
    match = _URI.fullmatch(uri.strip())
    if match is None:
        raise UserError(f"{uri!r} is no SIP URI; write sip:USER@HOST:PORT")
    return Target(match["user"], match["host"], int(match["port"] or 5060))


def load_wav(file: Path) -> Samples:
    """Read what to say, 8000 Hz mono.

    Raises:
        UserError: it is not there, or no WAV.
    """
    try:
        with file.open("rb") as opened:
            return to_samples(read_mono(opened))
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from error
    except WavError as error:
        raise UserError(f"{file}: {error}") from error


class Conversation:
    """An answered call, from the caller's side."""

    def __init__(self, call: Any, heard: HeardAudio) -> None:
        self._call = call
        self._heard = heard
        self._written = 0
        self._spoke_until = time.monotonic()

    @property
    def alive(self) -> bool:
        """Whether the line is still open."""
        return bool(self._call.state.name == "ANSWERED")

    def received(self) -> Samples:
        """What was heard so far, 8000 Hz."""
        return self._heard.samples()

    def say(self, samples: Samples) -> None:
        """Speak, and return when the last of it was sent (or the other side hung up)."""
        peak = int(np.abs(samples.astype(np.int32)).max(initial=1))
        scaled = np.rint(samples * (_PEAK / peak)).astype(np.int16) + 128
        audio = scaled.astype(np.uint8).tobytes()
        self._written += len(audio)
        self._call.write_audio(audio)
        while self.alive and self._sent() < self._written:
            time.sleep(_POLL_SECONDS)
        self._spoke_until = time.monotonic()

    def wait_for_answer(self, silence_ms: int, timeout_s: float) -> bool:
        """Wait until the other side has spoken and then been silent for `silence_ms`.

        Returns:
            Whether it spoke. False after `timeout_s`, or when it hung up without a word.
        """
        deadline = time.monotonic() + timeout_s
        while self.alive and time.monotonic() < deadline:
            silent_for = self._heard.silent_for(self._spoke_until)
            if silent_for is not None and silent_for * 1000 >= silence_ms:
                return True
            time.sleep(_POLL_SECONDS)
        return self._heard.silent_for(self._spoke_until) is not None

    def _sent(self) -> int:
        queue = self._call.RTPClients[0].pmout
        with queue.bufferLock:
            position: int = queue.buffer.tell()
            return position


class Softphone:
    """A phone that makes one call."""

    def __init__(self, target: Target) -> None:
        try:
            from pyVoIP.VoIP import VoIPPhone  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise UserError(
                "the softphone is the extra `phone`: pip install 'trunkline[phone]'"
            ) from error
        # It tells of a packet that it could not send after the call is over.
        warnings.filterwarnings("ignore", module="pyVoIP")
        self._target = target
        self._heard = HeardAudio()
        self._refusal: str | None = None
        self._inviting = False
        address = local_address_towards(target.host)
        rtp_port = free_udp_port(address)
        self._phone: Any = VoIPPhone(
            target.host,
            target.port,
            "caller",
            "",
            myIP=address,
            sipPort=free_udp_port(address),
            rtpPortLow=rtp_port,
            rtpPortHigh=rtp_port,
        )
        sip = self._phone.sip
        sip.callID.x = secrets.randbelow(1 << 30)
        self._parse_message = sip.parse_message
        sip.parse_message = self._take_message  # type: ignore[method-assign]

    @contextmanager
    def call(self) -> Iterator[Conversation]:
        """Call, and hang up at the end of the block.

        Raises:
            CallRefusedError: busy, no common codec, no such number, nobody there.
        """
        try:
            self._open()
            call = self._invite()
            self._tap(call)
            threading.Thread(target=self._phone.sip.recv_loop, name="SIP").start()
            self._wait_until_answered(call)
            yield Conversation(call, self._heard)
            if call.state.name == "ANSWERED":
                call.hangup()
        finally:
            self._stop()

    def _open(self) -> None:
        """What its start() does, without the registration and the wait."""
        sip = self._phone.sip
        sip.s = sip.out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sip.s.bind((sip.myIP, sip.myPort))
        # It waits for the first answer for ever.
        sip.s.settimeout(_ANSWER_SECONDS)
        sip.NSD = self._phone.NSD = True

    def _invite(self) -> Any:
        self._inviting = True
        try:
            return self._phone.call(self._target.user)
        except TimeoutError:
            user, host, port = self._target
            raise CallRefusedError(
                self._refusal or f"nobody answers SIP at {host}:{port} for {user!r}"
            ) from None
        finally:
            self._inviting = False

    def _wait_until_answered(self, call: Any) -> None:
        deadline = time.monotonic() + _ANSWER_SECONDS
        while call.state.name != "ANSWERED" or not call.RTPClients:
            if self._refusal is not None:
                raise CallRefusedError(self._refusal)
            if call.state.name == "ENDED" or time.monotonic() > deadline:
                raise CallRefusedError("the call was refused (404 or 503) or never answered")
            time.sleep(_POLL_SECONDS)

    def _take_message(self, message: Any) -> None:
        """Take the final answers that pyVoIP knows nothing of, and acknowledge them."""
        status = getattr(message.status, "value", 0)
        method = message.headers.get("CSeq", {}).get("method")
        its_own = (401,) if self._inviting else (401, 404, 503)
        if method == "INVITE" and status >= 300 and status not in its_own:
            self._refusal = f"the call was refused: {status} {message.status.phrase}"
            sip = self._phone.sip
            sip.out.sendto(sip.gen_ack(message).encode(), (sip.server, sip.port))
            if self._inviting:  # it would go on waiting for 100 or 180, for ever
                raise CallRefusedError(self._refusal)
            return
        self._parse_message(message)

    def _tap(self, call: Any) -> None:
        """Keep what the call's RTP client receives, at full quality and by its own clock."""
        create = call.create_rtp_clients

        def create_and_tap(*arguments: Any) -> None:
            create(*arguments)
            client = call.RTPClients[-1]
            parse = client.parse_packet

            def parse_and_keep(packet: bytes) -> None:
                parse(packet)
                codec = _CODECS.get(packet[1] & 0x7F)
                if codec is not None:
                    self._heard.take(int.from_bytes(packet[4:8]), packet[12:], codec)

            client.parse_packet = parse_and_keep

        call.create_rtp_clients = create_and_tap

    def _stop(self) -> None:
        """Stop its threads before their sockets: it does the reverse, and they fail loudly."""
        for call in list(self._phone.calls.values()):
            for client in call.RTPClients:
                client.NSD = False
        self._phone.sip.NSD = False
        time.sleep(5 * _POLL_SECONDS)
        for call in list(self._phone.calls.values()):
            for client in call.RTPClients:
                client.sin.close()
        self._phone.sip._close_sockets()


def seconds(samples: Samples) -> float:
    """The length of audio."""
    return len(samples) / SAMPLE_RATE
