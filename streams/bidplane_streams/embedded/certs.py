"""The certificates of one control plane: its own authority, its servers, its users.

Decides names, groups, validity and when a certificate is renewed (at two thirds of its life, on
start). Refuses to know what a user may do: RBAC does. One authority per plane, so a credential of
one agent's cluster opens no other.
"""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import os
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid

AUTHORITY_DAYS = 3650
LEAF_DAYS = 365
SERVER_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
SERVER_ADDRESSES = ("127.0.0.1", "10.96.0.1")

KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: {cluster}
clusters:
- name: {cluster}
  cluster:
    server: {server}
    certificate-authority-data: {authority}
users:
- name: {user}
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
contexts:
- name: {cluster}
  context: {{cluster: {cluster}, user: {user}}}
"""


class Authority:
    """The certificate authority of one directory; made on first use, kept afterwards."""

    def __init__(self, directory: pathlib.Path, name: str) -> None:
        self.directory = directory
        self.name = name
        directory.mkdir(parents=True, exist_ok=True)
        if not self.path("ca.crt").exists():
            self._make()
        self._certificate = x509.load_pem_x509_certificate(self.path("ca.crt").read_bytes())
        self._key = _load_key(self.path("ca.key"))

    def path(self, name: str) -> pathlib.Path:
        """A file of this authority by name: ``ca.crt``, ``ca.key``, ``NAME.crt``, ``NAME.key``."""
        return self.directory / name

    def _make(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _subject(f"bidplane {self.name}", ())
        usage = x509.KeyUsage(
            digital_signature=True, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        certificate = (
            _builder(subject, key.public_key(), AUTHORITY_DAYS)
            .issuer_name(subject)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .sign(key, hashes.SHA256())
        )
        write_secret(self.path("ca.key"), _pem(key))
        write_secret(self.path("ca.crt"), certificate.public_bytes(serialization.Encoding.PEM))

    def server(self, name: str, hosts: tuple[str, ...] = ()) -> None:
        """Ensure NAME.crt and NAME.key for a server on this machine, or behind other ``hosts``."""
        names = [_host(each) for each in (*SERVER_NAMES, *SERVER_ADDRESSES, *hosts)]
        self._leaf(name, _subject(name, ()), oid.ExtendedKeyUsageOID.SERVER_AUTH, names)

    def client(self, file: str, user: str, groups: tuple[str, ...] = ()) -> None:
        """Ensure FILE.crt and FILE.key that speak for a user of some groups."""
        self._leaf(file, _subject(user, groups), oid.ExtendedKeyUsageOID.CLIENT_AUTH, [])

    def _leaf(
        self,
        name: str,
        subject: x509.Name,
        usage: x509.ObjectIdentifier,
        names: list[x509.GeneralName],
    ) -> None:
        place = self.path(f"{name}.crt")
        if place.exists() and not _is_due(place, subject, names):
            return
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(subject, key.public_key(), LEAF_DAYS)
            .issuer_name(self._certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        write_secret(self.path(f"{name}.key"), _pem(key))
        write_secret(place, certificate.public_bytes(serialization.Encoding.PEM))

    def token_keys(self) -> None:
        """Ensure sa.key and sa.pub, which sign and check ServiceAccounts' tokens."""
        if self.path("sa.pub").exists():
            return
        key = ec.generate_private_key(ec.SECP256R1())
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        write_secret(self.path("sa.key"), _pem(key))
        public = key.public_key().public_bytes(serialization.Encoding.PEM, form)
        write_secret(self.path("sa.pub"), public)

    def kubeconfig(self, file: str, server: str, place: pathlib.Path) -> pathlib.Path:
        """Write a kubeconfig (mode 0600, all data inside) for the client of FILE; its path."""
        text = KUBECONFIG.format(
            cluster=self.name,
            server=server,
            user=file,
            authority=_encoded(self.path("ca.crt")),
            certificate=_encoded(self.path(f"{file}.crt")),
            key=_encoded(self.path(f"{file}.key")),
        )
        write_secret(place, text.encode())
        return place


def write_secret(place: pathlib.Path, content: bytes) -> None:
    """Write a file that only we may read, all of it or nothing."""
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = place.with_name(f"{place.name}.{os.getpid()}.new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123
        file.write(content)
    fresh.replace(place)


def _subject(user: str, groups: tuple[str, ...]) -> x509.Name:
    organisations = [x509.NameAttribute(oid.NameOID.ORGANIZATION_NAME, name) for name in groups]
    return x509.Name([*organisations, x509.NameAttribute(oid.NameOID.COMMON_NAME, user)])


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=days))
    )


def renewal(certificate: bytes) -> dt.datetime:
    """When a certificate (PEM) is due: at two thirds of its life."""
    read = x509.load_pem_x509_certificate(certificate)
    begun, ends = read.not_valid_before_utc, read.not_valid_after_utc
    return begun + (ends - begun) * 2 / 3


def _is_due(place: pathlib.Path, subject: x509.Name, names: list[x509.GeneralName]) -> bool:
    """Whether a certificate is past two thirds of its life, or speaks for others than these."""
    content = place.read_bytes()
    certificate = x509.load_pem_x509_certificate(content)
    try:
        said = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        said = x509.SubjectAlternativeName([])
    past = dt.datetime.now(dt.UTC) > renewal(content)
    return past or certificate.subject != subject or list(said) != names


def _host(text: str) -> x509.GeneralName:
    """A name or an address, as a certificate says it."""
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def _load_key(place: pathlib.Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(place.read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _encoded(place: pathlib.Path) -> str:
    return base64.b64encode(place.read_bytes()).decode()
