"""The cluster's certificates: one authority, a certificate for each part, kubeconfigs around them.

Makes keys in memory and returns files' contents; writing them is the caller's business.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# A throw-away cluster: a year is longer than any lives, and clocks of a day ago are forgiven.
LIFETIME = timedelta(days=365)
SKEW = timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """A private key and its certificate, in PEM."""

    key: bytes
    certificate: bytes


class Authority:
    """A certificate authority that lives as long as the object; its key is in `pair`."""

    def __init__(self, common_name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(common_name, ())
        builder = _builder(self._name, self._name, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False
        )
        certificate = builder.sign(self._key, hashes.SHA256())
        self.pair = Pair(_key_pem(self._key), certificate.public_bytes(serialization.Encoding.PEM))

    def client(self, common_name: str, *groups: str) -> Pair:
        """Issue a client certificate: the user's name and its groups."""
        return self._issue(_name(common_name, groups), ExtendedKeyUsageOID.CLIENT_AUTH, ())

    def server(self, common_name: str, addresses: Sequence[IPv4Address], names: Sequence[str] = ()) -> Pair:
        """Issue a serving certificate for addresses and DNS names."""
        alternatives: list[x509.GeneralName] = [x509.IPAddress(address) for address in addresses]
        alternatives += [x509.DNSName(name) for name in names]
        return self._issue(_name(common_name, ()), ExtendedKeyUsageOID.SERVER_AUTH, alternatives)

    def _issue(
        self, subject: x509.Name, usage: x509.ObjectIdentifier, alternatives: Sequence[x509.GeneralName]
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(subject, self._name, key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Pair(_key_pem(key), certificate.public_bytes(serialization.Encoding.PEM))


def signing_key() -> Pair:
    """Make the key of service account tokens: the private key and, in place of a certificate, the public one."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Pair(_key_pem(key), public)


def kubeconfig(cluster: str, server: str, authority: bytes, user: Pair) -> str:
    """Write a kubeconfig with everything inlined; JSON is YAML."""

    def data(pem: bytes) -> str:
        return base64.b64encode(pem).decode()

    context = f"corefit-{cluster}"
    credentials = {"client-certificate-data": data(user.certificate), "client-key-data": data(user.key)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": {"server": server, "certificate-authority-data": data(authority)}}],
        "users": [{"name": context, "user": credentials}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
    }
    return json.dumps(document, indent=2) + "\n"


def _name(common_name: str, groups: Sequence[str]) -> x509.Name:
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + LIFETIME)
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
