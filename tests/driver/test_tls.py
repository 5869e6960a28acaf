"""That TLS is for the name of the URL, with real handshakes on 127.0.0.1."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from detours import running_site

from sequential_core.driver.addresses import Rules, transport

SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def named(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """Signs certificates that nobody else trusts."""

    def __init__(self):
        self._key = ec.generate_private_key(ec.SECP256R1())
        is_authority = x509.BasicConstraints(ca=True, path_length=0)
        self._certificate = self._signed("an authority", self._key, (is_authority, True), (SIGNS, True))

    def _signed(self, name, key, *extensions):
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder(
            issuer_name=named("an authority"),
            subject_name=named(name),
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - dt.timedelta(hours=1),
            not_valid_after=now + dt.timedelta(hours=1),
        )
        # Python from 3.13 on wants these two.
        subject_key = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        for extension, critical in (*extensions, (subject_key, False), (issuer_key, False)):
            builder = builder.add_extension(extension, critical)
        return builder.sign(self._key, hashes.SHA256())

    def server(self, folder, *names):
        """A context for a server of these names."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed("a server", key, (x509.SubjectAlternativeName(names), False))
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        file = folder / "server.pem"
        file.write_bytes(certificate.public_bytes(pem) + private)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def trusting(self):
        """A context for a client that trusts this authority only."""
        pem = self._certificate.public_bytes(serialization.Encoding.PEM).decode()
        return ssl.create_default_context(cadata=pem)


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture
def site(authority, tmp_path):
    """A server of api.example.com, which remembers the names that clients asked for."""
    names = [x509.DNSName("api.example.com"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    context = authority.server(tmp_path, *names)
    asked = []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    with running_site(context) as site:
        site.asked = asked
        yield site


def client(verify):
    guard = transport(Rules(loopback=True), resolve=lambda _: ("127.0.0.1",), verify=verify)
    return httpx.Client(transport=guard, timeout=10)


@pytest.mark.parametrize(
    ("host", "asked"),
    [("api.example.com", "api.example.com"), ("API.example.com.", "api.example.com"), ("127.0.0.1", None)],
)
def test_tls_is_for_the_host_of_the_url_and_not_for_the_address_of_a_name(host, asked, authority, site):
    with client(authority.trusting()) as calls:
        assert calls.get(f"https://{host}:{site.server_port}/").text == "hello"
    assert site.asked == [asked]


def test_a_certificate_for_another_name_is_refused(authority, site):
    with client(authority.trusting()) as calls, pytest.raises(httpx.ConnectError, match=r"(?i)hostname mismatch"):
        calls.get(f"https://other.example.com:{site.server_port}/")
    assert site.seen == []


def test_a_certificate_of_an_authority_that_nobody_trusts_is_refused(site):
    with client(None) as calls, pytest.raises(httpx.ConnectError, match=r"(?i)certificate verify failed"):
        calls.get(f"https://api.example.com:{site.server_port}/")
    assert site.seen == []


def test_an_extension_does_not_change_the_name_that_tls_is_for(authority, site):
    url = f"https://other.example.com:{site.server_port}/"
    with client(authority.trusting()) as calls, pytest.raises(httpx.ConnectError, match=r"(?i)hostname mismatch"):
        calls.get(url, extensions={"sni_hostname": "api.example.com"})
    assert site.seen == []
