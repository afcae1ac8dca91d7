"""What an installation brings to a call's media: ports, addresses, codecs, security."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ingress_sip.endpoint import SipEndpoint
from ingress_sip.rtp.dtls import Certificate
from ingress_sip.sdp.codecs import CODECS, Codec
from ingress_sip.sdp.crypto import KEY_MATERIAL
from ingress_sip.sdp.fingerprint import Fingerprint
from ingress_sip.sdp.offer_answer import LocalMedia
from ingress_sip.sdp.security import LocalSecurity, MediaSecurity
from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.sockets.udp import RtpPorts
from ingress_sip.stream import MediaStream
from ingress_sip.trunking.config import Trunk


@dataclass(frozen=True, slots=True)
class MediaConfig:
    """What is taken of callers that no trunk says more about."""

    codecs: tuple[Codec, ...] = CODECS
    security: MediaSecurity = MediaSecurity.ALLOWED
    #: Keys are also heard by their tones, in the audio.
    tone_detection: bool = False
    #: Who we are in a DTLS handshake.
    certificate: Certificate = field(default_factory=lambda: Certificate(datetime.now(UTC)))

    @property
    def fingerprint(self) -> Fingerprint:
        """The certificate's, as SDP tells it."""
        return Fingerprint(*self.certificate.fingerprint)


class MediaSetup:
    """Opens the media of calls."""

    def __init__(
        self,
        config: MediaConfig,
        ports: RtpPorts,
        endpoint: SipEndpoint,
        *,
        now_ms: Callable[[], float],
        clock_ms: Callable[[], float],
    ) -> None:
        self.config = config
        self.now_ms = now_ms
        self.clock_ms = clock_ms
        self._ports = ports
        self._endpoint = endpoint

    async def open(self, name: str, hop: Hop) -> MediaStream:
        """Ports for one call, whose signalling comes from `hop`; `name` is for the log.

        Raises:
            NoPortError: all are taken.
        """
        ours = self._endpoint.address_towards(hop)
        stream = MediaStream(
            name,
            ours=ours,
            signalling=hop.host,
            clock_ms=self.clock_ms,
            now_ms=self.now_ms,
            tone_detection=self.config.tone_detection,
            certificate=self.config.certificate,
        )
        stream.use(await self._ports.open(stream.rtp_received, towards=hop.host))
        return stream

    def local(self, stream: MediaStream, hop: Hop, trunk: Trunk | None) -> LocalMedia:
        """Our side of a new session by `hop`, with the codecs and the security of the trunk."""
        config = self.config
        policy = config.security if trunk is None else MediaSecurity(trunk.srtp)
        return LocalMedia(
            address=self._endpoint.address_towards(hop),
            port=stream.port,
            session_id=secrets.randbits(31),
            codecs=config.codecs if trunk is None else codecs_of(trunk.codecs),
            security=LocalSecurity(
                policy,
                signalling_secure=hop.transport is Transport.TLS,
                key_material=secrets.token_bytes(KEY_MATERIAL),
                fingerprint=config.fingerprint,
            ),
        )


def codecs_of(names: tuple[str, ...]) -> tuple[Codec, ...]:
    """Codecs by their names in a configuration."""
    known = {codec.name: codec for codec in CODECS}
    return tuple(known[name] for name in names)
