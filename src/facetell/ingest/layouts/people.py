"""Who is in a video, by its name, and which videos therefore belong to one group."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["Circles", "celebdf_people", "dfd_actors", "dfdc_preview_people", "faceforensics_sequences"]


class Circles:
    """People (or sequences) that occur together, directly or through others, are one circle.

    A fake of two people ties both: with a fake of 1 and 2 and a fake of 2 and 3, the videos of 1, 2 and 3 all belong
    to one group, or the same face would be on both sides of a split.
    """

    def __init__(self) -> None:
        self._above: dict[str, str] = {}
        self._members: dict[str, list[str]] = {}
        self._names: dict[str, str] = {}

    def tie(self, people: Iterable[str]) -> None:
        """Put people in one circle."""
        tops = [self._top(person) for person in people]
        self._names.clear()
        for top in tops[1:]:
            one, other = self._top(tops[0]), self._top(top)
            if one != other:
                self._above[other] = one
                self._members[one] += self._members.pop(other)

    def name(self, person: str) -> str:
        """The name of a person's circle: one or two by their names, more by the first and the number of others."""
        top = self._top(person)
        if top not in self._names:
            members = sorted(self._members[top], key=_by_number)
            self._names[top] = "_".join(members) if len(members) < 3 else f"{members[0]}+{len(members) - 1}"
        return self._names[top]

    def __len__(self) -> int:
        return len(self._above)

    def shared_with(self, other: Circles) -> int:
        """How many people are in both."""
        return len(self._above.keys() & other._above.keys())

    def _top(self, person: str) -> str:
        if person not in self._above:
            self._above[person] = person
            self._members[person] = [person]
        while self._above[person] != person:
            self._above[person] = self._above[self._above[person]]
            person = self._above[person]
        return person


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
