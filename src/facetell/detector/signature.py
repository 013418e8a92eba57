"""Who made a detector: a signature over all its files, in the format of OpenSSF Model Signing (a Sigstore bundle), by a key of
one's own. The package that writes and checks it is imported where it is used.

Signed is every file in the folder but the card, which is free to edit, and hidden ones. What changes the detector later,
such as another operating point, breaks the signature: sign it again.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from facetell.errors import BundleError, MissingExtraError, UsageError
from facetell.files import whole_file
from facetell.hub import CARD

if TYPE_CHECKING:
    from model_signing.hashing import Config

__all__ = ["SIGNATURE", "check_signature", "sign_bundle"]

SIGNATURE = "model.sig"
_KEYS = (
    "make a pair: openssl ecparam -name prime256v1 -genkey -noout -out private.pem; "
    "openssl ec -in private.pem -pubout -out public.pem"
)
_PUBLIC = "give the public key of who signed it; of a private one: openssl ec -in private.pem -pubout -out public.pem"
_OPEN = "set FACETELL_KEY_PASSWORD to the key's own password, or unset it where the key has none"


def sign_bundle(path: Path, key: Path, password: str | None = None) -> str:
    """Write ``model.sig`` into the detector at ``path``, by a private key (PEM, on a NIST curve); SHA-256 of its public key.

    Raises:
        UsageError: ``key`` is no such key, or ``password`` does not open it.
        MissingExtraError: the extra ``sign`` is not installed.
        DataError: it cannot be written.
    """
    with _installed():
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from model_signing import signing
    secret = password.encode() if password else None
    with _key(key, "private"):
        content = key.read_bytes()
        try:
            public = load_pem_private_key(content, secret).public_key()
        except TypeError:  # the library's word for a password that is missing, or one too many
            said = "there is a password, and {} needs none" if secret else "{} needs its password"
            raise UsageError(said.format(key), hint=_OPEN) from None
        except ValueError as error:
            if secret and b"ENCRYPTED" in content:
                raise UsageError(f"the password does not open {key}", hint=_OPEN) from error
            raise
        _check_curve(public)
        signer = signing.Config()  # type: ignore[no-untyped-call]
        signer.use_elliptic_key_signer(private_key=key, password=secret)  # type: ignore[arg-type]  # it needs bytes
    with whole_file(path / SIGNATURE) as partial:
        signer.set_hashing_config(_what_is_signed(path)).sign(path.resolve(), partial)
    return _fingerprint(public)


def check_signature(path: Path, key: Path) -> str:
    """Raise ``BundleError`` unless the detector at ``path`` is what the owner of a public key (PEM) signed; the key's SHA-256.

    Raises:
        UsageError: ``key`` is no public key.
        MissingExtraError: the extra ``sign`` is not installed.
    """
    with _installed():
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
        from model_signing import verifying
    with _key(key, "public"):
        public = load_pem_public_key(key.read_bytes())
        _check_curve(public)
        verifier = verifying.Config()  # type: ignore[no-untyped-call]
        verifier.use_elliptic_key_verifier(public_key=key)
    if not (path / SIGNATURE).is_file():
        raise BundleError(f"{path} is not signed: it has no {SIGNATURE}", hint="its maker signs it with: facetell sign")
    try:
        verifier.set_hashing_config(_what_is_signed(path)).verify(path.resolve(), path / SIGNATURE)
    except InvalidSignature:
        raise BundleError(f"{path / SIGNATURE} was not made with the key of {key}, or was changed") from None
    except Exception as error:  # whatever a signature file makes of the library that reads it
        said = str(error)
        if said.startswith("Key mismatch"):
            raise BundleError(f"{path} was signed with another key than {key}") from None
        if said.startswith("Signature mismatch"):
            raise BundleError(f"{path} is not what was signed: {_differences(said)}") from None
        raise BundleError(f"{path / SIGNATURE} cannot be read: {said or type(error).__name__}") from error
    return _fingerprint(public)


def _check_curve(public: object) -> None:
    """Raise ``ValueError`` unless a key is on a curve."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    if not isinstance(public, EllipticCurvePublicKey):
        raise ValueError("it is of another kind, such as RSA or Ed25519")


def _differences(said: str) -> str:
    """What the library found, a list in Python's writing, without the digests."""
    found = ast.literal_eval(said.partition(": ")[2])
    return "; ".join(str(each).partition(": Expected")[0] for each in found)


def _what_is_signed(path: Path) -> Config:
    from model_signing import hashing

    aside = [SIGNATURE, CARD, *(each.name for each in path.iterdir() if each.name.startswith("."))]
    files = hashing.Config()  # type: ignore[no-untyped-call]
    files.set_ignored_paths(paths=aside, ignore_git_paths=False)
    files.set_allow_symlinks(True)  # the hub's cache is made of links
    return files


def _fingerprint(public: object) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    raw = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return hashlib.sha256(raw).hexdigest()


@contextlib.contextmanager
def _installed() -> Iterator[None]:
    try:
        yield
    except ImportError:
        raise MissingExtraError("a signature", "sign") from None


@contextlib.contextmanager
def _key(key: Path, kind: str) -> Iterator[None]:
    """Raise ``UsageError`` for a file that holds no key of that kind."""
    hint = _KEYS if kind == "private" else _PUBLIC
    try:
        yield
    except UsageError:
        raise
    except OSError as error:
        raise UsageError(f"the key {key} cannot be read: {error.strerror or error}", hint=hint) from None
    except Exception as error:  # of whichever part of a key is not as it should be
        raise UsageError(f"{key} is no {kind} key on a NIST curve, as PEM: {error}", hint=hint) from None
