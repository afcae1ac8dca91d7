"""A certificate authority for a test, and the servers and phones that it vouches for."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_LIFE: Final = dt.timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    """PEM files: `both` holds the certificate and its key, as baresip wants it."""

    certificate: Path
    key: Path
    both: Path


class Authority:
    """An authority whose certificate is at `ca`; what it makes is kept in the same folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("Test authority")
        self.ca = folder / "ca.pem"
        made = (
            _builder(self._name, self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.ca.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *addresses: str) -> Certificate:
        """A certificate for the host `name` and its IP addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        known_as: list[x509.GeneralName] = [x509.DNSName(name)]
        known_as += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        made = (
            _builder(_named(name), self._name, key)
            .add_extension(x509.SubjectAlternativeName(known_as), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        certificate = made.public_bytes(serialization.Encoding.PEM)
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        found = Certificate(*(self._folder / f"{name}.{kind}" for kind in ("crt", "key", "pem")))
        found.certificate.write_bytes(certificate)
        found.key.write_bytes(secret)
        found.both.write_bytes(certificate + secret)
        return found


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LIFE)
        .not_valid_after(now + _LIFE)
    )
