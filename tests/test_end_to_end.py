"""``depth`` whose backbone learns, too: what changes, what stays as it was, and what experts read then."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from toy import tiny

import facetell
from facetell.faceset.table import FaceSet
from facetell.methods.building import arrays_of
from facetell.networks.backbones import build_backbone
from facetell.networks.depth import DepthStatistics
from facetell.networks.mixture import AtSize, MixtureOfExperts
from facetell.networks.perceptron import DepthClassifier
from facetell.progress import Step

SETTINGS = tiny(
    "depth", epochs=1, lr=0.0, tune=6, tune_lr=3e-3, kinds="chess=board;lines=grid", backbone="mobilenetv3_small_050"
)
"""A perceptron that knows nothing when the backbone begins to learn: it could not get better else."""


def fitted(faces: FaceSet, out: Path, **change: object) -> facetell.Detector:
    return facetell.fit("depth", faces.path, out, settings={**SETTINGS, **change}, seed=1)


@pytest.mark.fits
def test_the_backbone_learns_and_the_one_before_is_kept(faces: FaceSet, tmp_path: Path) -> None:
    """Kept for experts: a backbone of random weights is that of a fit of the same seed in which it does not learn."""
    tuned = arrays_of(fitted(faces, tmp_path / "tuned").runtime.network)
    frozen = arrays_of(fitted(faces, tmp_path / "frozen", tune=0).runtime.network)
    before = {name.removeprefix("un"): each for name, each in tuned.items() if name.startswith("untuned.")}
    for name, each in before.items():
        np.testing.assert_array_equal(each, frozen[name.replace("tuned.", "statistics.", 1)], err_msg=name)
    moved = {
        name
        for name, each in before.items()
        if not np.array_equal(each, tuned[name.replace("tuned.", "statistics.", 1)])
    }
    assert any("conv_pw.weight" in name for name in moved)
    assert any("running_var" in name for name in moved)
    assert not any("conv_stem" in name for name in moved)
    with (tmp_path / "tuned/training.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in table] == list(range(1, 1 + 6 + 1))
    assert max(float(row["validation_auroc"]) for row in table) > float(table[0]["validation_auroc"])


def test_it_stays_as_it_was_where_learning_does_not_help(faces: FaceSet, tmp_path: Path) -> None:
    """The perceptron tells all validation faces apart: no epoch can be better."""
    network = arrays_of(fitted(faces, tmp_path / "still", tune=1, epochs=12, lr=3e-3).runtime.network)
    for name in (name for name in network if name.startswith("untuned.")):
        np.testing.assert_array_equal(network[name.replace("untuned.", "statistics.", 1)], network[name], err_msg=name)


@pytest.mark.fits
def test_an_interrupted_fit_ends_as_one_that_was_left_alone(faces: FaceSet, tmp_path: Path) -> None:
    def stop(step: Step) -> None:
        if step.stays and step.done == 1 + 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        facetell.fit("depth", faces.path, tmp_path / "cut", settings=SETTINGS, seed=1, progress=stop)
    resumed = facetell.fit("depth", faces.path, tmp_path / "cut", settings=SETTINGS, seed=1, resume=True)
    whole = arrays_of(fitted(faces, tmp_path / "whole").runtime.network)
    for name, each in arrays_of(resumed.runtime.network).items():
        np.testing.assert_array_equal(each, whole[name], err_msg=name)


def test_experts_read_the_backbone_as_it_was() -> None:
    torch.manual_seed(0)
    tuned, untuned = (DepthStatistics(build_backbone("squeezenet1_1", 32), 32) for _ in range(2))
    network = DepthClassifier(tuned, 8, 0.0, untuned=untuned).eval()
    mixture = MixtureOfExperts.beside(AtSize(network, 32), None)
    expert = mixture.experts[0]
    for probe in (expert.head, expert.gate):
        torch.nn.init.normal_(probe.dense.weight, std=0.01)
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        vectors = untuned(images)
        part = torch.sigmoid(expert.gate(vectors))
        expected = (1 - part) * network.head(tuned(images)) + part * expert.head(vectors)
        torch.testing.assert_close(mixture(images), expected)
