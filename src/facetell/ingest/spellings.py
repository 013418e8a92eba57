"""How folder names and indexes spell labels, splits and columns."""

from __future__ import annotations

import re

__all__ = ["COLUMN_WORDS", "LABEL_WORDS", "SPLIT_WORDS", "column_of", "label_of", "split_of"]

LABEL_WORDS = {
    **dict.fromkeys(
        (
            "real", "reals", "original", "originals", "originalsequences", "authentic", "genuine", "pristine",
            "bonafide", "natural", "celebreal", "youtubereal",
        ),
        0,
    ),
    **dict.fromkeys(
        (
            "fake", "fakes", "deepfake", "deepfakes", "manipulated", "manipulatedsequences", "synthetic", "synthesis",
            "synthesized", "synthesised", "generated", "aigenerated", "forged", "forgery", "altered", "tampered",
            "spoof", "celebsynthesis",
        ),
        1,
    ),
}  # fmt: skip
"""Spellings of the labels, without case, punctuation, a leading number (``0_real``), ``training_`` or ``_images``."""

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("finetune", "finetuning"), "finetune"),
}
"""Spellings of the splits."""

COLUMN_WORDS = {
    **dict.fromkeys(
        ("path", "file", "filename", "filepath", "image", "imagepath", "img", "imgpath", "picture", "relativepath"),
        "path",
    ),
    **dict.fromkeys(("label", "labels", "class", "target", "groundtruth"), "label"),
    **dict.fromkeys(
        ("group", "groupid", "person", "personid", "identity", "identityid", "subject", "subjectid"), "group"
    ),
    **dict.fromkeys(("video", "videoid", "videoname", "clip", "clipid"), "video"),
    **dict.fromkeys(("isfake", "fake"), "fake"),
    **dict.fromkeys(("isreal", "real"), "real"),
    **dict.fromkeys(("source", "generator", "dataset"), "source"),
    **dict.fromkeys(("split", "subset", "partition"), "split"),
}
"""Spellings of an index's columns, without case and punctuation; ``video`` is a group where no column says more, ``fake`` and
``real`` are labels as yes or no."""

_DECORATION = ("images", "image", "imgs", "pictures", "faces", "face", "frames", "crops")


def label_of(folder_name: str) -> int | None:
    """The label that a folder's name stands for: 0 real, 1 fake, or None.

    Only whole names count, so ``real_vs_fake`` and ``Real-ESRGAN`` give None. So do ``0`` and ``1``, as data sets
    disagree about them; an index, where 0 is defined as real, may use them.
    """
    words = _words(folder_name)
    return LABEL_WORDS.get("".join(words)) if words else None


def split_of(word: str) -> str | None:
    """The split that a word stands for, or None."""
    return SPLIT_WORDS.get(re.sub(r"[^a-z0-9]", "", word.lower()))


def column_of(word: str) -> str | None:
    """The column of an index that a word of its header stands for, or None."""
    return COLUMN_WORDS.get(re.sub(r"[^a-z0-9]", "", word.lower()))


def _words(name: str) -> list[str]:
    """A folder's name as lower-case words, without leading number, split word and decoration."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = [word.lower() for word in re.split(r"[^A-Za-z0-9]+", spaced) if word]
    if words and words[0].isdigit():
        words = words[1:]
    if len(words) > 1 and words[0] in SPLIT_WORDS:
        words = words[1:]
    while len(words) > 1 and words[-1] in _DECORATION:
        words = words[:-1]
    return words
