"""Certificates that a test issues: right ones, and some that are wrong in one way each."""

from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NOW = dt.datetime.now(dt.UTC)
YEAR = dt.timedelta(days=365)
Pair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def issue(name: str, issuer: Pair | None, begins: dt.datetime, ends: dt.datetime, address: str = "") -> Pair:
    """A certificate: of an authority where there is no address."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(begins).not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=not address, path_length=None), critical=True)
    )  # fmt: skip
    if address:
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def write(pair: Pair, path: Path) -> str:
    certificate = pair[0].public_bytes(serialization.Encoding.PEM)
    key = pair[1].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(certificate + key)
    return str(path)


def authority(ends: dt.datetime = NOW + YEAR) -> Pair:
    return issue("authority", None, NOW - 2 * YEAR, ends)
