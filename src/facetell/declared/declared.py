"""What a file says of itself, as values: what somebody signed, and what is merely written in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Claim", "Credentials", "Declared", "Meaning"]

Meaning = Literal["generated", "partly generated", "captured"]


@dataclass(frozen=True)
class Claim:
    """One thing that a file says of where it comes from.

    ``kind``: ``source_type`` (a digital source type of IPTC), ``generator`` (the name or the settings of one), ``label`` (a
    mark that a law asks for), ``camera``. ``value``: what is said; ``means``: that in one word, None where it says neither.
    ``where`` it stands. ``signed``: it is part of Content Credentials whose signature is valid, so it is what the signer
    said, unaltered; else anybody may have written it.
    """

    kind: str
    value: str
    means: Meaning | None
    where: str
    signed: bool = False


@dataclass(frozen=True)
class Credentials:
    """Content Credentials (C2PA) of a file.

    ``signature``: ``valid`` (the file is as it was signed), ``invalid``, None where it was not checked, which ``note``
    explains. ``trusted``: whether the signer's certificate leads to one of the configured anchors, None where none is
    configured: anybody can make a certificate with any name. ``issuer`` and ``signer`` (organisation and name in the
    certificate), ``signed_at`` (by a time stamp authority, ISO 8601), ``claim_generator`` (what wrote them), ``actions``
    (``c2pa.created`` ...), ``problems`` (codes of C2PA for what is wrong).
    """

    signature: Literal["valid", "invalid"] | None
    trusted: bool | None = None
    issuer: str | None = None
    signer: str | None = None
    signed_at: str | None = None
    claim_generator: str | None = None
    actions: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    note: str | None = None


@dataclass(frozen=True)
class Declared:
    """What a file says of itself: ``credentials``, None where it has none, ``claims``, and a ``note`` on what was not read.

    It is no part of the score: what it says may be false, and most fakes say nothing.
    """

    credentials: Credentials | None = None
    claims: list[Claim] = field(default_factory=list)
    note: str | None = None

    @property
    def brief(self) -> str:
        """In a few words, for a table; empty where it says nothing of a generator and has no credentials."""
        parts = []
        for means in ("generated", "partly generated"):
            said = [claim for claim in self.claims if claim.means == means]
            if said:
                names = list(dict.fromkeys(claim.value for claim in said if claim.kind == "generator"))
                how = "signed" if any(claim.signed for claim in said) else "claimed, not signed"
                parts.append(f"says of itself: {means}{f' by {names[0]}' if names else ''} ({how})")
                break
        if self.credentials is not None:
            parts.append(_of_credentials(self.credentials))
        return "; ".join(parts)


def _of_credentials(credentials: Credentials) -> str:
    if credentials.signature is None:
        return str(credentials.note)
    if credentials.signature == "invalid":
        return "Content Credentials: invalid"
    trust = {True: "trusted", False: "not trusted", None: "trust not configured"}[credentials.trusted]
    return f"Content Credentials: valid, signed by {credentials.issuer or 'nobody named'} ({trust})"
