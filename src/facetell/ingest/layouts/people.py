"""Reads from a video's name which people are in it, and finds the videos that must be in one group."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["Circles", "celebdf_people", "dfd_actors", "dfdc_preview_people", "faceforensics_sequences"]


class Circles:
    """Circles of people (or sequences) who appear in the same videos, directly or through others.

    A fake shows two people. With a fake of 1 and 2 and a fake of 2 and 3, the videos of 1, 2 and 3 are one group;
    otherwise a split would have the same face on both sides.
    """

    def __init__(self) -> None:
        from scipy.cluster.hierarchy import DisjointSet  # takes a while to import

        self._people = DisjointSet()
        self._names: dict[str, str] = {}

    def tie(self, people: Iterable[str]) -> None:
        """Put people in one circle."""
        self._names.clear()
        together = list(people)
        for person in together:
            self._people.add(person)
            self._people.merge(together[0], person)

    def name(self, person: str) -> str:
        """The name of a person's circle: one or two by their names, more by the first and the number of others."""
        self._people.add(person)
        circle = self._people[person]
        if circle not in self._names:
            members = sorted(self._people.subset(person), key=_by_number)
            self._names[circle] = "_".join(members) if len(members) < 3 else f"{members[0]}+{len(members) - 1}"
        return self._names[circle]

    def __len__(self) -> int:
        return len(self._people)

    def shared_with(self, other: Circles) -> int:
        """How many people are in both."""
        return len({*self._people} & {*other._people})


def faceforensics_sequences(stem: str) -> tuple[str, ...]:
    """``071`` → 071; ``071_054`` → 071 (the target, whose video it is) and 054 (the source); else nothing."""
    return tuple(stem.split("_")) if re.fullmatch(r"\d{3}(_\d{3})?", stem) else ()


def dfd_actors(stem: str) -> tuple[str, ...]:
    """``01__kitchen_pan`` → actor 01; ``01_02__kitchen_pan__YVGY8LOK`` → actors 01 and 02; else nothing."""
    match = re.match(r"(\d\d)(?:_(\d\d))?__", stem)
    return tuple(f"actor{number}" for number in match.groups() if number) if match else ()


def celebdf_people(stem: str) -> tuple[str, ...]:
    """``id0_0003`` → id0; ``id0_id1_0003`` → id0 and id1; ``00170`` (of YouTube-real, a person each) → youtube00170."""
    if re.fullmatch(r"\d{5}", stem):
        return (f"youtube{stem}",)
    return tuple(re.findall(r"id\d+", stem)) if re.fullmatch(r"id\d+(_id\d+)?_\d{4}", stem) else ()


def dfdc_preview_people(stem: str) -> tuple[str, ...]:
    """``1506066_A_001`` → 1506066; ``704778_1506066_A_002`` → both; else nothing."""
    match = re.match(r"(\d{4,})_(?:(\d{4,})_)?[A-Z]_", stem)
    return tuple(f"person{number}" for number in match.groups() if number) if match else ()


def _by_number(name: str) -> tuple[int, str]:
    digits = re.sub(r"\D", "", name)
    return (int(digits) if digits else 0, name)
