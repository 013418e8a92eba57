"""A verdict in words, for people who have never read what a threshold is."""

from __future__ import annotations

from facetell.declared.declared import Claim, Credentials
from facetell.detector.verdict import Verdict

__all__ = ["CANNOT", "claim_words", "credential_words", "headline", "meaning"]

_HEADLINES = {
    "fake": "Looks fake",
    "real": "Looks real",
    "unsure": "Cannot be said",
    "no_face": "No face found",
    "face_too_small": "The faces are too small",
    "unreadable": "The file cannot be read",
    "unsupported": "The file cannot be judged",
    "truncated": "The end of the file is missing",
    "missing": "The file is gone",
    "uncalibrated": "The detector is uncalibrated",
}

CANNOT = (
    "A kind of fake that the detector has not learned can look real to it.",
    "It looks at faces alone: not at voices, text or the scene, nor at whether a real picture shows what is said of it.",
    "Filters, make-up, heavy compression and pictures of screens can look like a fake, and small or blurred faces say little.",
    "A score is evidence, not proof. Ask where the file comes from, and who made it.",
)
"""What no verdict can tell."""


def headline(verdict: Verdict) -> str:
    """The verdict in two or three words."""
    if verdict.status == "truncated" and verdict.decision is not None:
        return f"{_HEADLINES[verdict.decision]}, as far as the file goes"
    return _HEADLINES[verdict.status]


def meaning(verdict: Verdict) -> list[str]:
    """What its numbers mean, a sentence each."""
    said: list[str] = []
    if verdict.score is not None and verdict.threshold is not None:
        share = "where they are as common as in the detector's validation data"
        if verdict.prevalence is not None:
            share = f"where {100 * verdict.prevalence:g} in 100 are fake"
        said.append(f"Of files with the score {verdict.score:.2f}, {_in_100(verdict.score)} are fake, {share}.")
        said.append(
            f"From {verdict.threshold:.2f} on a file is called fake (operating point {verdict.operating_point})."
        )
    if verdict.unsure is not None and verdict.unsure[0] < verdict.unsure[1]:
        said.append(f"From {verdict.unsure[0]:.2f} to {verdict.unsure[1]:.2f} neither is said.")
    if verdict.corrected_for is not None and verdict.corrected_for > 1:
        said.append(
            f"The largest of {verdict.corrected_for} scores is high by chance alone: the file's is corrected for that, those "
            "of its faces are not."
        )
    if verdict.window is not None:
        said.append(f"It is most fake from {verdict.window[0]:.1f} to {verdict.window[1]:.1f} s.")
    if verdict.reason is not None:
        said.append(f"{verdict.reason[:1].upper()}{verdict.reason[1:]}.")
    if verdict.note is not None:
        said.append(f"Of the file: {verdict.note}.")
    return said


def _in_100(score: float) -> str:
    if score < 0.01:
        return "fewer than 1 in 100"
    if score > 0.99:
        return "more than 99 in 100"
    return f"about {round(100 * score)} in 100"


def credential_words(credentials: Credentials) -> list[str]:
    """What Content Credentials prove and what they do not."""
    if credentials.signature is None:
        return [f"{str(credentials.note)[:1].upper()}{str(credentials.note)[1:]}."]
    if credentials.signature == "invalid":
        problems = ", ".join(credentials.problems)
        return [
            f"Content Credentials are there and invalid ({problems}): the file or they were changed since they were signed."
        ]
    who = f"{credentials.issuer or 'nobody named'}{f' ({credentials.signer})' if credentials.signer else ''}"
    trust = {
        True: "whose certificate this server trusts.",
        False: "whose certificate this server does not trust: anybody can make one with that name.",
        None: "by the certificate. This server has no list of whom to trust, and anybody can make one with that name.",
    }[credentials.trusted]
    said = [f"Content Credentials are valid: unchanged since they were signed by {who}, {trust}"]
    if credentials.claim_generator:
        said.append(f"Written by {credentials.claim_generator}.")
    if credentials.actions:
        said.append(f"Actions: {', '.join(credentials.actions)}.")
    return said


def claim_words(claim: Claim) -> str:
    """One claim as a sentence."""
    value = claim.value.rpartition("/")[2] if claim.kind == "source_type" else claim.value
    kinds = {"source_type": "digital source type", "generator": "generator", "label": "label", "camera": "camera"}
    means = f", which means {claim.means}" if claim.means and claim.kind != "camera" else ""
    how = "signed" if claim.signed else "only claimed: anybody can write it"
    return f"{kinds[claim.kind].capitalize()} {value}{means}; {claim.where} ({how})."
