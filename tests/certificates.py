"""An authority of the tests' own, and certificates from it: made anew for each run, never kept."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from raycache.tls import TlsSettings

CLUSTER_NAME = "raycache.test"


@dataclass(frozen=True)
class Authority:
    """Signs certificates into `folder`."""

    folder: Path
    name: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls, folder: Path, name: str = "authority") -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (_builder(name, name, key).add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
                       .sign(key, hashes.SHA256()))
        made = cls(folder, name, key, certificate)
        Path(made.ca).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return made

    @property
    def ca(self) -> str:
        return str(self.folder / f"{self.name}.pem")

    def issue(self, subject: str, *, names: tuple[str, ...] = (CLUSTER_NAME,),
              addresses: tuple[str, ...] = ("127.0.0.1",), days: int = 1) -> tuple[str, str]:
        """Write a certificate and its key; return both paths."""
        key = ec.generate_private_key(ec.SECP256R1())
        others = [x509.DNSName(name) for name in names] + [x509.IPAddress(ipaddress.ip_address(one))
                                                           for one in addresses]
        builder = _builder(subject, self.name, key, days).add_extension(
            x509.BasicConstraints(ca=False, path_length=None), True)
        if others:
            builder = builder.add_extension(x509.SubjectAlternativeName(others), False)
        certificate = builder.sign(self.key, hashes.SHA256())
        paths = self.folder / f"{subject}.pem", self.folder / f"{subject}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                               serialization.NoEncryption()))
        return str(paths[0]), str(paths[1])

    def settings(self, subject: str = "shard", *, require_client_cert: bool = False, server_name: str | None = None,
                 names: tuple[str, ...] = (CLUSTER_NAME,), addresses: tuple[str, ...] = ("127.0.0.1",)) -> TlsSettings:
        """Return settings with a new certificate."""
        cert, key = self.issue(subject, names=names, addresses=addresses)
        return TlsSettings(ca=self.ca, cert=cert, key=key, server_name=server_name,
                           require_client_cert=require_client_cert)


def _builder(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey, days: int = 1) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    start = now - datetime.timedelta(days=max(1, 1 - 2 * days))
    return (x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(start).not_valid_after(now + datetime.timedelta(days=days)))
