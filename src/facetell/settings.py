"""Settings: frozen dataclasses whose fields say what they mean and what they accept.

Layers are merged in the order defaults, preset, TOML file, ``--set key=value``; an unknown key or a value outside its
range raises ``SettingsError`` with the nearest known name.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from facetell.errors import SettingsError, near_miss

__all__ = ["SettingInfo", "as_dict", "check_counts", "describe", "parse_assignments", "read_toml", "resolve", "setting"]

S = TypeVar("S")


def setting(
    default: object,
    doc: str,
    *,
    choices: Sequence[str] = (),
    low: float = -math.inf,
    high: float = math.inf,
) -> Any:
    """Declare one field: its default, its meaning, and the choices or the closed range it accepts."""
    return dataclasses.field(
        default=default, metadata={"doc": doc, "choices": tuple(choices), "low": low, "high": high}
    )


def check_counts(**counts: int | None) -> None:
    """Raise ``SettingsError`` for a number of ``workers``, ``shots`` and the like below 1; None is a default."""
    for name, count in counts.items():
        if count is not None and count < 1:
            raise SettingsError(f"{name} must be at least 1, not {count}", hint=f"leave {name} out for the default")


@dataclasses.dataclass(frozen=True)
class SettingInfo:
    """What is known of one setting, for help pages and for checking."""

    name: str
    type: type
    default: object
    doc: str
    choices: tuple[str, ...]
    low: float
    high: float

    @property
    def accepts(self) -> str:
        """The accepted values in words, such as ``0 to 1`` or ``adamw | sgd``."""
        if self.choices:
            return " | ".join(self.choices)
        if self.type is bool:
            return "true | false"
        if math.isfinite(self.low) and math.isfinite(self.high):
            return f"{self.low:g} to {self.high:g}"
        if math.isfinite(self.low):
            return f"{self.low:g} or more"
        return "text" if self.type is str else "any number"


def describe(cls: type) -> list[SettingInfo]:
    """List the settings of a dataclass in order."""
    types = get_type_hints(cls)
    return [
        SettingInfo(f.name, types[f.name], f.default, **{k: f.metadata[k] for k in ("doc", "choices", "low", "high")})
        for f in dataclasses.fields(cls)
    ]


def resolve(cls: type[S], *layers: Mapping[str, object]) -> S:
    """Build settings from defaults and layers, later layers winning; strings are read as the field's type."""
    known = {info.name: info for info in describe(cls)}
    values: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            if name not in known:
                raise SettingsError(
                    f"unknown setting '{name}'{near_miss(name, known)}", hint="`facetell methods NAME` lists them all"
                )
            values[name] = _checked(known[name], value)
    return cls(**values)


def _checked(info: SettingInfo, value: object) -> object:
    try:
        if info.type is bool:
            read: object = _boolean(value)
        elif info.type is int:
            read = int(value) if isinstance(value, str) else value
            if isinstance(read, bool) or not isinstance(read, int):
                raise ValueError
        elif info.type is float:
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                raise ValueError
            read = float(value)
        else:
            read = str(value)
    except ValueError:
        raise SettingsError(f"{info.name} = {value!r}: expected {info.type.__name__} ({info.accepts})") from None
    if info.choices and read not in info.choices:
        raise SettingsError(f"{info.name} = {read!r}: expected {info.accepts}{near_miss(str(read), info.choices)}")
    if isinstance(read, int | float) and not info.low <= read <= info.high:
        raise SettingsError(f"{info.name} = {read!r}: expected {info.accepts}")
    return read


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if not isinstance(value, str) or value.lower() not in words:
        raise ValueError
    return words[value.lower()]


def as_dict(settings: object) -> dict[str, object]:
    """Return resolved settings as a plain dict, ready for JSON."""
    return dataclasses.asdict(settings)  # type: ignore[call-overload]


def parse_assignments(assignments: Sequence[str]) -> dict[str, object]:
    """Read ``("epochs=5", "lr=1e-3")`` as a layer."""
    layer: dict[str, object] = {}
    for text in assignments:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise SettingsError(f"cannot read '{text}' as a setting", hint="write --set name=value")
        layer[name.strip().replace("-", "_")] = value.strip()
    return layer


def read_toml(path: Path) -> dict[str, object]:
    """Read a settings file: flat ``name = value`` lines."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"cannot read settings from {path}: {error}") from error
