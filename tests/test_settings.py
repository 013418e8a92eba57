from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import facetell
from facetell.errors import SettingsError
from facetell.settings import describe, parse_assignments, read_toml, resolve, setting


@dataclass(frozen=True)
class Sample:
    count: int = setting(3, "how many", low=1, high=9)
    rate: float = setting(0.5, "how fast", low=0)
    flip: bool = setting(True, "mirror")
    kind: str = setting("a", "which", choices=("a", "beta"))


def test_later_layers_win_and_strings_are_read() -> None:
    found = resolve(Sample, {"count": 4, "rate": 1}, parse_assignments(["count=5", "flip=no", "rate=1e-3"]))
    assert found == Sample(count=5, rate=0.001, flip=False)
    assert isinstance(resolve(Sample, {"rate": 2}).rate, float)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"cuont": 1}, "unknown setting 'cuont'; did you mean 'count'"),
        ({"count": 0}, "count = 0: expected 1 to 9"),
        ({"count": "many"}, "expected int"),
        ({"count": 1.5}, "expected int"),
        ({"count": True}, "expected int"),
        ({"rate": "nan"}, "expected 0 or more"),
        ({"rate": True}, "expected float"),
        ({"flip": "perhaps"}, "true | false"),
        ({"flip": 1}, "true | false"),
        ({"kind": "bet"}, "did you mean 'beta'"),
    ],
)
def test_bad_settings_are_named(layer: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError) as error:
        resolve(Sample, layer)
    assert message in error.value.message


def test_assignments_need_a_sign() -> None:
    assert parse_assignments(["mb-blocks=2", "pretrained=a=b"]) == {"mb_blocks": "2", "pretrained": "a=b"}
    with pytest.raises(SettingsError, match="cannot read 'epochs'"):
        parse_assignments(["epochs"])


def test_toml(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('count = 2\nkind = "beta"\n')
    assert resolve(Sample, read_toml(file)) == Sample(count=2, kind="beta")
    file.write_text("count = = 2")
    with pytest.raises(SettingsError, match="cannot read settings"):
        read_toml(file)
    with pytest.raises(SettingsError, match="cannot read settings"):
        read_toml(tmp_path / "none.toml")


def test_describe_says_what_is_accepted() -> None:
    assert [(info.name, info.accepts) for info in describe(Sample)] == [
        ("count", "1 to 9"),
        ("rate", "0 or more"),
        ("flip", "true | false"),
        ("kind", "a | beta"),
    ]


@pytest.mark.parametrize("count", [0, -3])
def test_counts_below_one_are_refused_before_anything_is_touched(count: int, tmp_path: Path) -> None:
    nowhere, out = tmp_path / "nowhere", tmp_path / "out"
    calls: dict[str, list[Callable[[], object]]] = {
        "jobs": [lambda: facetell.bench("small", out, jobs=count)],
        "workers": [
            lambda: list(facetell.detect(nowhere, [nowhere], workers=count)),
            lambda: facetell.prepare(nowhere, out, workers=count),
            lambda: facetell.stress(nowhere, nowhere, out, workers=count),
            lambda: facetell.watch(nowhere, [nowhere], workers=count),
            lambda: facetell.explain(nowhere, nowhere, out, workers=count),
        ],
        "shots": [
            lambda: facetell.fit("finetune", nowhere, out, shots=count),
            lambda: facetell.adapt(nowhere, out, fake=nowhere, shots=count),
        ],
        "threads": [lambda: facetell.Detector.load(nowhere, threads=count)],
    }
    for name, each in calls.items():
        for call in each:
            with pytest.raises(SettingsError, match=f"^{name} must be at least 1, not {count}"):
                call()
    assert not list(tmp_path.iterdir())
