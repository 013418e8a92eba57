"""The predictions table: what goes in comes out, and what is unusable is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from facetell.detector.decider import Decider
from facetell.errors import DataError
from facetell.evaluation import read_predictions, write_predictions
from facetell.evaluation.predictions import PREDICTION_COLUMNS
from facetell.evaluation.score_curves import Curve


def predictions(n: int = 4) -> dict[str, np.ndarray]:
    return {
        "row": np.arange(n),
        "path": np.array([f"faces/ä {k}.png" for k in range(n)]),
        "label": np.arange(n) % 2,
        "group": np.array([f"id{k // 2}" for k in range(n)]),
        "source": np.array(["ffhq", "pggan"] * n)[:n],
        "split": np.array(["test"] * n),
        "sha256": np.array(["0" * 64] * n),
        "logit": np.linspace(-1, 1, n),
        "score": np.linspace(0.25, 0.75, n),
    }


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "split=test" / "predictions.parquet"  # must not be read as a partition
    path.parent.mkdir()
    write_predictions(path, predictions())
    found = read_predictions(path)
    assert list(found) == list(PREDICTION_COLUMNS)
    assert found["label"].dtype == np.int8
    assert (found["logit"].dtype, found["score"].dtype) == (np.float32, np.float64)
    for name, values in predictions().items():
        np.testing.assert_array_equal(found[name], values.astype(found[name].dtype))
    assert [entry.name for entry in path.parent.iterdir()] == ["predictions.parquet"]


def test_a_decision_by_the_table_is_that_of_the_detector(tmp_path: Path) -> None:
    """Thresholds as near to a score as they can be: between two neighbours that float32 does not tell apart, and at 1."""
    logits = np.array([-1.0, 0.3, np.nextafter(np.float32(0.3), np.float32(1)), 20.0], np.float32)
    scores = Curve(1.3).scores(logits)
    write_predictions(tmp_path / "p.parquet", {**predictions(), "logit": logits, "score": scores})
    stored = read_predictions(tmp_path / "p.parquet")["score"]
    for threshold in (*scores, *np.nextafter(scores, 2), (scores[1] + scores[2]) / 2, float(np.nextafter(1, 2))):
        by_table = ["fake" if score >= threshold else "real" for score in stored]
        assert by_table == Decider(Curve(1.3), threshold).decisions(logits)


def test_pandas_opens_it(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.parquet", predictions())
    frame = pd.read_parquet(tmp_path / "p.parquet")
    assert frame.path.tolist() == predictions()["path"].tolist()


def test_no_rows_is_a_table_too(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.parquet", predictions(0))
    assert all(column.size == 0 for column in read_predictions(tmp_path / "p.parquet").values())


def changed(name: str, value: object) -> dict[str, object]:
    return {**predictions(), name: value}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({k: v for k, v in predictions().items() if k != "logit"}, "lacks logit"),
        (changed("extra", np.zeros(4)), "unknown extra"),
        (changed("score", np.zeros(3)), "unequal length"),
        (changed("score", np.array([0, 0.5, 1, 1.5])), "scores must lie"),
        (changed("score", np.array([0, 0.5, 1, np.nan])), "scores must lie"),
        (changed("logit", np.array([0, 0.5, 1, np.inf])), "1 logits are not finite"),
        (changed("label", np.array([0, 1, 2, 1])), "labels must be"),
        (changed("label", np.array([0, 1, 257, 1])), "labels must be"),  # 257 would be 1 as int8
        (changed("label", np.array([0, 1, 0.5, 1])), "'label' is not int8"),
        (changed("logit", np.array(["a"] * 4)), "'logit' is not float32"),
        (changed("group", np.array([None] * 4)), "'group' is not str"),
        (changed("score", np.zeros((4, 1))), "one dimension"),
    ],
)
def test_unusable_columns_are_refused_and_nothing_is_left(tmp_path: Path, columns: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_predictions(tmp_path / "p.parquet", columns)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    write_predictions(path, predictions())
    before = path.read_bytes()
    with pytest.raises(DataError):
        write_predictions(path, changed("score", np.full(4, 2.0)))
    assert path.read_bytes() == before


def test_a_missing_folder_is_made_and_an_impossible_one_named(tmp_path: Path) -> None:
    write_predictions(tmp_path / "new" / "p.parquet", predictions())
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["p.parquet"]
    with pytest.raises(DataError, match="cannot write .*q.parquet"):
        write_predictions(tmp_path / "new" / "p.parquet" / "q.parquet", predictions())


def test_reading_what_is_not_a_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no predictions at"):
        read_predictions(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("not Parquet")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_predictions(tmp_path / "text.parquet")
    pq.write_table(pa.table({"label": [0, 1]}), tmp_path / "short.parquet")
    with pytest.raises(DataError, match="lacks row, path"):
        read_predictions(tmp_path / "short.parquet")


def test_a_column_added_by_others_is_left_aside(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    write_predictions(path, predictions())
    pq.write_table(pq.read_table(path).append_column("note", pa.array(["x"] * 4)), path)
    assert "note" not in read_predictions(path)


def test_nulls_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    write_predictions(path, predictions())
    table = pq.read_table(path)
    for name, values in (("label", pa.array([0, None, 1, 1], pa.int8())), ("group", pa.array(["a", None, "b", "c"]))):
        pq.write_table(table.set_column(table.column_names.index(name), name, values), tmp_path / "nulls.parquet")
        with pytest.raises(DataError, match=name):
            read_predictions(tmp_path / "nulls.parquet")
