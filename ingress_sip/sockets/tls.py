"""TLS for SIP (RFC 3261 26.2.1): certificates from files, taken anew when the files change.

Connections live on with the certificate that they began with; who comes after a change gets the
new one. A new pair that cannot be used is told of, and the old one stays.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog
from cryptography import x509

from telemetry import metrics

_log = structlog.get_logger(__name__)


class TlsError(Exception):
    """Certificate files cannot be used: the message names the file and the mend."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. Without certificate and key, we can connect by TLS but not listen."""

    #: Ours, followed by the intermediate ones up to what peers trust.
    certificate: Path | None = None
    #: Its private key, without a passphrase.
    key: Path | None = None
    #: Whom we trust to vouch for peers; without it, whom the system trusts.
    ca: Path | None = None
    #: Must those who connect to us show a certificate too?
    clients_verified: bool = False

    @property
    def all(self) -> tuple[Path, ...]:
        """Those that are named."""
        return tuple(file for file in (self.certificate, self.key, self.ca) if file is not None)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate file says."""

    not_after: datetime
    #: The host names and addresses that it is for.
    names: tuple[str, ...]


class TlsContexts:
    """The TLS of new connections."""

    def __init__(self, files: TlsFiles) -> None:
        """Read the files.

        Raises:
            TlsError
        """
        self._files = files
        self._seen = self._stamps()
        self._server, self._client = server_context(files), client_context(files)

    def server(self) -> ssl.SSLContext:
        """For whoever connects to us now.

        Raises:
            TlsError: there is no certificate.
        """
        self._look()
        if self._server is None:
            raise TlsError("no certificate: TLS cannot be listened for")
        return self._server

    def client(self) -> ssl.SSLContext:
        """For a connection of ours: the peer must prove the name that we look for."""
        self._look()
        return self._client

    def _look(self) -> None:
        """A handshake costs a thousand times what it takes to look at the files."""
        if (stamps := self._stamps()) == self._seen:
            return
        self._seen = stamps
        try:
            self._server, self._client = server_context(self._files), client_context(self._files)
        except TlsError as error:  # or one of two files is new: the other will be in a moment
            metrics.ERRORS.labels("ingress", "tls_reload").inc()
            _log.error("tls.not_reloaded", error=str(error), in_use="those before")
        else:
            _log.info("tls.reloaded", files=[str(file) for file in self._files.all])

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(file) for file in self._files.all]


def server_context(files: TlsFiles) -> ssl.SSLContext | None:
    """None without a certificate. Raises TlsError."""
    if files.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _show_ours(context, files)
    if files.clients_verified:
        context.verify_mode = ssl.CERT_REQUIRED
        _trust(context, files.ca)
    return context


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """Raises TlsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies the chain and the name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _show_ours(context, files)
    _trust(context, files.ca)
    return context


def read_certificate(file: Path) -> Certificate:
    """The first certificate of a PEM file.

    Raises:
        TlsError
    """
    try:
        found = x509.load_pem_x509_certificate(file.read_bytes())
    except OSError as error:
        raise TlsError(f"{file}: {error.strerror}") from error
    except ValueError as error:
        raise TlsError(f"{file}: holds no certificate in PEM form") from error
    names: tuple[str, ...] = ()
    try:
        alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = (
            *alternatives.get_values_for_type(x509.DNSName),
            *(str(address) for address in alternatives.get_values_for_type(x509.IPAddress)),
        )
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        pass
    return Certificate(found.not_valid_after_utc, names)


def _show_ours(context: ssl.SSLContext, files: TlsFiles) -> None:
    if files.certificate is None:
        return
    _readable(files.certificate)
    if files.key is not None:
        _readable(files.key)
    try:
        # Without the password's callback, OpenSSL would ask the terminal for one.
        context.load_cert_chain(files.certificate, files.key, password=lambda: "")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            why = f"{files.key} is not its key"
        else:
            why = "it and its key must be PEM files, the key without a passphrase"
        raise TlsError(f"{files.certificate}: {why}") from error


def _trust(context: ssl.SSLContext, ca: Path | None) -> None:
    if ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return
    _readable(ca)
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as error:
        raise TlsError(f"{ca}: holds no certificates in PEM form") from error


def _readable(file: Path) -> None:
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        raise TlsError(f"{file}: {error.strerror}") from error


def _stamp(file: Path) -> tuple[int, int, int] | None:
    """What changes when the file does, even by a link that points elsewhere; None: it is away."""
    try:
        at = file.stat()
    except OSError:
        return None
    return at.st_mtime_ns, at.st_size, at.st_ino
