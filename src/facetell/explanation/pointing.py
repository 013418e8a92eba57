"""The pointing game: does a map's highest point lie where the fake is? (Zhang et al., IJCV 2018, arXiv:1608.00507)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from facetell.evaluation.rates import effective_share
from facetell.explanation.maps import Maps, enlarged

__all__ = ["Pointing", "peak", "pointing_game", "pointing_games", "pointing_sentence"]


@dataclass(frozen=True)
class Pointing:
    """``hits`` of ``n`` faces; 95% interval ``low`` to ``high`` of the rate.

    ``chance``: rate of a point drawn anywhere (the masks' mean area); ``centre``: rate of always pointing at the middle.
    """

    n: int
    hits: int
    rate: float
    low: float
    high: float
    chance: float
    centre: float


def peak(values: npt.NDArray[np.float32]) -> tuple[int, int]:
    """Row and column of the highest value of a map (h, w); of several, the one nearest to their middle."""
    highest = np.argwhere(values == values.max())
    away = ((highest - highest.mean(axis=0)) ** 2).sum(axis=1)
    row, column = highest[int(np.argmin(away))]
    return int(row), int(column)


def pointing_game(maps: npt.NDArray[np.float32], masks: npt.NDArray[np.bool_], groups: npt.ArrayLike) -> Pointing:
    """Count the faces whose map (N, S, S) has its highest value inside the mask (N, S, S); no pixel of tolerance.

    A map that is the same everywhere points nowhere: a miss. Faces of one of ``groups`` (N,) count as fewer.
    """
    hit = np.array([np.ptp(values) > 0 and mask[peak(values)] for values, mask in zip(maps, masks, strict=True)], bool)
    n, hits = len(maps), int(hit.sum())
    low, high = _wilson(hits / n, n * effective_share(hit, groups))
    middle = masks.shape[-1] // 2
    return Pointing(
        n,
        hits,
        hits / n,
        low,
        high,
        float(masks.mean()),
        float(masks[:, middle, middle].mean()),
    )


def _wilson(rate: float, n: float) -> tuple[float, float]:
    """The 95% interval of Wilson (1927) of a rate on ``n`` independent faces: good for few of them, too."""
    z = NormalDist().inv_cdf(0.975)
    middle = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * math.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    return middle - reach if rate > 0 else 0.0, middle + reach if rate < 1 else 1.0


def pointing_games(maps: Maps, regions: Mapping[int, npt.NDArray[np.bool_]], groups: Sequence[str]) -> dict[str, Any]:
    """The pointing game of each kind of map on the faces that have a region (S, S), which are named by their place.

    ``groups``: of all faces.
    """
    members, masks = list(regions), np.stack(list(regions.values()))
    own = [groups[member] for member in members]
    games = {key: pointing_game(enlarged(values[members], masks.shape[-1]), masks, own) for key, values in maps.items()}
    return {"n": len(members), "kinds": {key: asdict(game) for key, game in games.items()}}


def pointing_sentence(title: str, game: Mapping[str, Any]) -> str:
    """The sentence that a pointing game allows."""
    verdict = "no better than chance"
    if game["low"] > game["chance"]:
        verdict = "better than chance"
    elif game["high"] < game["chance"]:
        verdict = "worse than chance"
    return (
        f"{title} points into the forged region of {game['hits']:,} of {game['n']:,} fakes: {game['rate']:.1%} "
        f"({game['low']:.1%} to {game['high']:.1%}), {verdict} ({game['chance']:.1%})."
    )
