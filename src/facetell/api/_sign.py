"""``sign``: say with a key of one's own that a detector is what one made."""

from __future__ import annotations

from pathlib import Path

from facetell.detector.bundle import read_bundle
from facetell.detector.places import DetectorLike, bundle_path, description_file
from facetell.detector.signature import sign_bundle
from facetell.files import alone

__all__ = ["sign"]


@alone("detector", description_file)
def sign(detector: DetectorLike, key: str | Path, *, password: str | None = None) -> str:
    """Sign all files of a detector but its card, in the format of OpenSSF Model Signing, into ``model.sig`` in its folder.

    ``key``: a private key on a NIST curve, as PEM; ``password`` opens it, if it needs one. Returns the SHA-256 of the public
    key, which `verify` says, too. What changes the detector later breaks the signature.

    Raises:
        UsageError: no such key; the detector came with facetell or from the hub's cache.
        BundleError: the detector is damaged. MissingExtraError: the extra ``sign`` is not installed.
    """
    path = bundle_path(detector)
    read_bundle(path)
    return sign_bundle(path, Path(key), password)
