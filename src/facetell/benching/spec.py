"""What a bench file says: face sets, rows with their axes, and the papers' numbers; read strictly, before any work.

::

    title = "FDFtNet on face swaps"
    seeds = [0, 1, 2]

    [facesets.swaps]                 # name; where it lies in the data folder, and how it is prepared
    path = "FaceForensics++"
    options = { methods = "Deepfakes", compression = "c23" }

    [defaults]                       # merged into every row
    faceset = "swaps"
    settings = { size = 64 }

    [[rows]]
    name = "baseline"
    method = "finetune"
    settings = { backbone = ["squeezenet1_0", "xception"] }    # a list is an axis: one detector for each value

    [[rows]]
    name = "FDFtNet"
    method = "fdftnet"
    start = "baseline"               # begins with the detector of that row that has the same axes and seed
    control = "baseline"             # the row beside which it is tested
    shots = 1000

    [[paper]]                        # numbers of a paper beside those of one row
    row = "FDFtNet"
    where = { backbone = "xception" }
    source = "Table 5"
    auroc = 0.9937

``faceset`` and ``test`` name one face set, or several that are joined: ``swaps + gans``.
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from facetell.errors import FacetellError, SettingsError, near_miss
from facetell.evaluation.metrics import SUMMARY_KEYS
from facetell.faceset.splits import SPLITS
from facetell.methods import get_method
from facetell.settings import as_dict, resolve

__all__ = ["Cell", "PaperRow", "Source", "Spec", "read_spec", "shipped_specs"]

TOP = ("title", "about", "seeds", "facesets", "defaults", "rows", "paper")
SOURCE = ("path", "layout", "options", "frames", "largest")
ROW = ("name", "method", "faceset", "split", "shots", "preset", "settings", "start", "control", "seeds", "test")
PAPER = ("row", "where", "source", "auroc", "accuracy", "precision", "recall", "f1")
AXES = ("faceset", "split", "shots", "preset")


@dataclass(frozen=True)
class Source:
    """A face set of the bench: where it lies below the data folder, and how `prepare` makes it if it is none yet."""

    name: str
    path: str
    layout: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    frames: str = "32"
    largest: bool = False


@dataclass(frozen=True, eq=False)
class Cell:
    """One detector to fit and measure. Without a method it is the detector of ``start``, measured as it is.

    ``axes``: what distinguishes it within its row, ``tests``: (face set, split) pairs it is measured on. ``settings`` are
    complete but for ``pretrained``, which is what the row says, below the data folder where it is a file.
    """

    row: str
    axes: tuple[tuple[str, object], ...]
    method: str | None
    faceset: str
    split: str
    shots: int | None
    settings: Mapping[str, object]
    seed: int
    tests: tuple[tuple[str, str], ...]
    start: Cell | None
    control: str | None

    @property
    def name(self) -> str:
        """Row, axes and seed in words."""
        return ", ".join([self.row, *(f"{key} {value}" for key, value in self.axes), f"seed {self.seed}"])


@dataclass(frozen=True)
class PaperRow:
    """Numbers that a paper gives for the cells of a row where the axes have these values."""

    row: str
    where: Mapping[str, object]
    source: str
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Spec:
    """A whole bench: what is compared, on which face sets, in the order of the file."""

    title: str
    about: str
    sources: Mapping[str, Source]
    cells: tuple[Cell, ...]
    paper: tuple[PaperRow, ...]

    def of(self, row: str) -> list[Cell]:
        """The cells of a row."""
        return [cell for cell in self.cells if cell.row == row]


def shipped_specs() -> dict[str, Path]:
    """The bench files that come with the package, by name."""
    folder = Path(str(resources.files("facetell.benching"))) / "specs"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_spec(spec: str | Path) -> Spec:
    """Read a bench file, or one that comes with the package by its name.

    Raises ``SettingsError`` for anything unknown or contradictory, with the row it stands in.
    """
    shipped = shipped_specs()
    path = shipped.get(str(spec), Path(spec))
    if not path.is_file():
        raise SettingsError(
            f"there is no bench file {spec}{near_miss(str(spec), shipped)}",
            hint=f"a TOML file, or one of those that come along: {', '.join(shipped)}",
        )
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"cannot read {path}: {error}") from error
    return _spec(content, path)


def _spec(content: dict[str, Any], path: Path) -> Spec:
    where = str(path)
    _known(content, TOP, where)
    sources = {}
    for name, entry in _table(content.get("facesets", {}), f"{where}: facesets").items():
        _known(entry, SOURCE, f"{where}: facesets.{name}")
        sources[name] = Source(name, **{"path": name, **entry})
    defaults = _table(content.get("defaults", {}), f"{where}: defaults")
    _known(defaults, ROW[1:], f"{where}: defaults")
    cells: list[Cell] = []
    for row in content.get("rows", []):
        label = f"{where}: row '{row.get('name', '?')}'"
        _known(row, ROW, label)
        merged = {**defaults, **row, "settings": {**defaults.get("settings", {}), **row.get("settings", {})}}
        if "name" not in row or any(cell.row == row["name"] for cell in cells):
            raise SettingsError(f"{label}: every row needs a name of its own")
        try:
            cells += _cells(merged, content.get("seeds", [0]), sources, cells)
        except FacetellError as error:
            raise SettingsError(f"{label}: {error.message}", hint=error.hint) from error
    if not cells:
        raise SettingsError(f"{where} has no rows", hint="see docs/bench.md")
    _check_controls(cells, where)
    paper = tuple(_paper_row(entry, cells, f"{where}: paper") for entry in content.get("paper", []))
    return Spec(content.get("title", path.stem), content.get("about", ""), sources, tuple(cells), paper)


def _cells(
    row: Mapping[str, Any], seeds: Sequence[int], sources: Mapping[str, Source], earlier: Sequence[Cell]
) -> Iterator[Cell]:
    """One cell for each combination of the row's lists and seeds."""
    method = get_method(row["method"]) if row.get("method") else None
    if method is None and "start" not in row:
        raise SettingsError("it has neither a method nor a start")
    axes = {key: row[key] for key in AXES if isinstance(row.get(key), list)}
    axes |= {key: value for key, value in row["settings"].items() if isinstance(value, list)}
    for values in itertools.product(*axes.values()):
        chosen = dict(zip(axes, values, strict=True))
        plain = {key: chosen.get(key, row.get(key)) for key in AXES}
        faceset = _several(str(plain["faceset"]))
        tests = tuple(_test(text, sources) for text in _list(row.get("test", faceset)))
        settings: dict[str, object] = {}
        if method is not None:
            preset = plain["preset"]
            if preset is not None and preset not in method.presets:
                raise SettingsError(f"{method.name} has no preset '{preset}'{near_miss(str(preset), method.presets)}")
            layer = {**row["settings"], **{key: value for key, value in chosen.items() if key not in AXES}}
            several = method.for_several if "+" in faceset else {}
            preset_layer = method.presets[preset] if preset else {}
            settings = as_dict(resolve(method.settings, {**several, **preset_layer}, layer))
            _test(faceset, sources)
        split = plain["split"] or "train"
        if split not in SPLITS:
            raise SettingsError(f"unknown split '{split}'{near_miss(split, SPLITS)}")
        for seed in _list(row.get("seeds", seeds)):
            yield Cell(
                row=row["name"],
                axes=tuple(chosen.items()),
                method=method.name if method else None,
                faceset=faceset,
                split=split,
                shots=plain["shots"] or None,
                settings=settings,
                seed=seed,
                tests=tests,
                start=_partner(row["start"], chosen, seed, earlier) if "start" in row else None,
                control=row.get("control"),
            )


def _partner(row: str, axes: Mapping[str, object], seed: int, cells: Sequence[Cell]) -> Cell:
    """The one cell of another row that agrees in every axis both have; of the same seed, or of the only one it has."""
    of_row = [cell for cell in cells if cell.row == row]
    if not of_row:
        raise SettingsError(f"there is no row '{row}' above it{near_miss(row, {cell.row for cell in cells})}")
    seeds = {cell.seed for cell in of_row}
    agree = [
        cell
        for cell in of_row
        if all(axes.get(key, value) == value for key, value in cell.axes) and cell.seed in ({seed} & seeds or seeds)
    ]
    if len(agree) != 1:
        raise SettingsError(
            f"{len(agree)} cells of row '{row}' go with {dict(axes)}, seed {seed}",
            hint="give both rows the same lists, and the same seeds or a single one above",
        )
    return agree[0]


def _check_controls(cells: Sequence[Cell], where: str) -> None:
    rows = {cell.row for cell in cells}
    for cell in cells:
        if cell.control is not None and cell.control not in rows:
            raise SettingsError(f"{where}: row '{cell.row}': no row '{cell.control}'{near_miss(cell.control, rows)}")


def _paper_row(entry: Mapping[str, Any], cells: Sequence[Cell], where: str) -> PaperRow:
    _known(entry, PAPER, where)
    missing = [key for key in ("row", "source") if key not in entry]
    if missing:
        raise SettingsError(f"{where}: {entry} lacks {missing[0]}")
    conditions = entry.get("where", {})
    if not any(cell.row == entry["row"] and conditions.items() <= dict(cell.axes).items() for cell in cells):
        raise SettingsError(f"{where}: no cell of row '{entry['row']}' has {conditions}")
    metrics = {key: float(value) for key, value in entry.items() if key in SUMMARY_KEYS}
    return PaperRow(entry["row"], conditions, entry["source"], metrics)


def _test(text: str, sources: Mapping[str, Source]) -> tuple[str, str]:
    """Read ``name`` or ``name:split``; the name may be several, ``name + name``."""
    names, _, split = text.partition(":")
    for name in (parts := _several(names).split("+")):
        if name not in sources:
            raise SettingsError(f"unknown face set '{name}'{near_miss(name, sources)}", hint="add it under [facesets]")
        if parts.count(name) > 1:
            raise SettingsError(f"'{names}' has {name} twice", hint="name every face set once")
    return _several(names), split or "test"


def _several(names: str) -> str:
    """Names of face sets with nothing but ``+`` between them."""
    return "+".join(name.strip() for name in names.split("+"))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _table(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SettingsError(f"{where} must be a table")
    return value


def _known(entry: Mapping[str, Any], keys: Sequence[str], where: str) -> None:
    for key in entry:
        if key not in keys:
            raise SettingsError(f"{where}: unknown key '{key}'{near_miss(key, keys)}", hint=f"known: {', '.join(keys)}")
