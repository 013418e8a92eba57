"""DFFD, the Diverse Fake Face Dataset: a folder for each source, with the official splits below.

Its own pictures only: the FaceForensics++ part and, by its terms, CelebA have to be had from their own pages; unpacked
beside as ``youtube`` or ``celeba`` with the same splits, they are read too. The names do not say who is shown, so
every picture is its own **group**; the official splits are all there is to keep people apart.
"""

from __future__ import annotations

from pathlib import Path

from facetell.faceset.rows import RowBuilder
from facetell.ingest.layouts.layout import (
    PICTURES,
    Chosen,
    Layout,
    Option,
    known_in,
    media_in,
    names_only,
    skip_unknown,
)
from facetell.ingest.sources import names_in
from facetell.ingest.spellings import split_of

__all__ = ["LAYOUT"]

REAL = ("celeba", "ffhq", "youtube")
FAKE = ("faceapp", "pggan_v1", "pggan_v2", "stargan", "stylegan_celeba", "stylegan_ffhq")
FAKE_VIDEO = ("deepfakes", "face2face", "faceswap")
_SPLITS = ("train", "validation", "test")

TREE = """
{ffhq,celeba,youtube}/                                              the real faces
  {train,validation,valid,val,test}/
    *
{faceapp,pggan_v1,pggan_v2,stargan,stylegan_celeba,stylegan_ffhq}/  the fakes; Deepfakes, Face2Face, FaceSwap likewise
  {train,validation,valid,val,test}/
    *
"""


def _recognises(root: Path) -> bool:
    return any((root / name / split).is_dir() for name in FAKE for split in ("train", "validation", "test"))


def _read(builder: RowBuilder, chosen: Chosen) -> None:
    known = (*REAL, *FAKE, *FAKE_VIDEO)
    for source in known_in(builder, "", [name for name in names_only(builder.root) if name.lower() in known]):
        if source.lower() not in (*REAL, *chosen["fakes"]):
            continue
        label = 0 if source.lower() in REAL else 1
        for name in names_in(builder.root / source, source, builder):
            split, folder = split_of(name), f"{source}/{name}"
            if split not in _SPLITS or not (builder.root / folder).is_dir():
                skip_unknown(builder, folder)
                continue
            for path in media_in(builder, folder, PICTURES):
                builder.add(f"{folder}/{path}", label, None, source, split)


LAYOUT = Layout(
    name="dffd",
    title="DFFD (Diverse Fake Face Dataset)",
    homepage="https://cvlab.cse.msu.edu/dffd-dataset.html",
    licence="on request, for research",
    groups="each picture its own",
    tree=TREE,
    recognises=_recognises,
    read=_read,
    options=(Option("fakes", (*FAKE, *FAKE_VIDEO), "which kinds of fakes to take"),),
)
