"""Content Credentials for tests: a root, a certificate below it, both made on the spot, and files signed with it."""

from __future__ import annotations

import datetime
import io
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
EMPTY = "http://c2pa.org/digitalsourcetype/empty"


class Signer(NamedTuple):
    """PEM: ``chain`` (its own certificate, then the root's), ``key``, and the ``root`` alone."""

    chain: bytes
    key: bytes
    root: bytes


@cache
def signer() -> Signer:
    pytest.importorskip("c2pa", reason="needs the extra 'credentials'")
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = certificate("A root", root_key, "A root", root_key, authority=True)
    own = certificate("A signer", key, "A root", root_key, authority=False)
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Signer(own.public_bytes(pem) + root.public_bytes(pem), secret, root.public_bytes(pem))


def certificate(name: str, key: Any, issuer: str, issuer_key: Any, *, authority: bool) -> Any:
    """As C2PA 2.2 section 14.5 asks for: version 3, key identifiers, the purpose of signing e-mail."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def named(who: str) -> x509.Name:
        return x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Newsroom"), x509.NameAttribute(NameOID.COMMON_NAME, who)]
        )

    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(not authority, False, False, False, False, authority, authority, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(authority, None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False)
        .add_extension(usage, True)
    )
    if not authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
    return builder.sign(issuer_key, hashes.SHA256())


def signed(data: bytes, mime: str, *, parent: bytes | None = None, part: bytes | None = None) -> bytes:
    """The file with Content Credentials; by default created by a toy generator. ``parent``: the file it was before, or
    ``part``: one that it holds."""
    import c2pa

    who = signer()
    first: dict[str, Any] = {
        "action": "c2pa.created", "digitalSourceType": GENERATED, "softwareAgent": {"name": "Midjourney"}
    }  # fmt: skip
    actions = [first]
    if parent is not None:
        actions = [{"action": "c2pa.opened", "parameters": {"ingredientIds": ["it"]}}]
    if part is not None:
        place = {"action": "c2pa.placed", "parameters": {"ingredientIds": ["it"]}}
        actions = [{"action": "c2pa.created", "digitalSourceType": EMPTY}, place]
    manifest = {
        "claim_generator_info": [{"name": "Toy studio", "version": "1.2"}],
        "assertions": [{"label": "c2pa.actions", "data": {"actions": actions}}],
    }
    info = c2pa.C2paSignerInfo(alg=b"es256", sign_cert=who.chain, private_key=who.key, ta_url=None)
    context = c2pa.Context.from_dict({"builder": {"thumbnail": {"enabled": False}}})
    out = io.BytesIO()
    with c2pa.Builder(manifest, context=context) as builder:
        for relation, ingredient in (("parentOf", parent), ("componentOf", part)):
            if ingredient is not None:
                builder.add_ingredient(
                    {"title": "it", "relationship": relation, "label": "it"}, mime, io.BytesIO(ingredient)
                )
        builder.sign(c2pa.Signer.from_info(info), mime, io.BytesIO(data), out)
    return out.getvalue()


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its private key, as PEM files."""
    pytest.importorskip("cryptography")
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(secret)
    return folder / "certificate.pem", folder / "key.pem"
