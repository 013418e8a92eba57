"""The predictions table: one row per scored face, a Parquet file every report can be recomputed from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facetell.errors import DataError
from facetell.files import whole_file

__all__ = ["PREDICTION_COLUMNS", "checked_predictions", "read_predictions", "write_predictions"]

PREDICTION_COLUMNS: dict[str, str] = {
    "row": "int64",
    "path": "str",
    "label": "int8",
    "group": "str",
    "source": "str",
    "split": "str",
    "sha256": "str",
    "logit": "float32",
    "score": "float64",
    "p_known": "float64",
}
"""Columns and their types, in order. ``row``: place in the face set; ``score``: calibrated probability of fake, as exact as
`detect` compares it with a threshold: rounded, faces beside the threshold would get another decision here than there.
``p_known``: the share of known faces that lie as far from the others as this one, NaN where nobody asked, as in a table
without this column."""

Columns = dict[str, NDArray[Any]]


def checked_predictions(columns: Mapping[str, Any], where: str = "predictions") -> Columns:
    """Return the columns in the order and types of :data:`PREDICTION_COLUMNS` (text as object arrays of str).

    Raises :class:`~facetell.errors.DataError`, naming ``where``, for a missing or unknown column, unequal lengths, a
    label other than 0 and 1, a logit that is not finite, or a score outside [0, 1].
    """
    columns = {**columns, "p_known": columns.get("p_known", np.full(np.shape(columns.get("row", ())), np.nan))}
    missing = [name for name in PREDICTION_COLUMNS if name not in columns]
    unknown = [name for name in columns if name not in PREDICTION_COLUMNS]
    if missing or unknown:
        parts = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has unknown {', '.join(unknown)}"] * bool(unknown)
        hint = f"a predictions table has the columns {', '.join(PREDICTION_COLUMNS)}"
        raise DataError(f"{where}: {'; '.join(parts)}", hint=hint)
    table: Columns = {}
    for name, kind in PREDICTION_COLUMNS.items():
        values = np.asarray(columns[name])
        if values.ndim != 1:
            raise DataError(f"{where}: column '{name}' must have one dimension, got shape {values.shape}")
        try:
            if kind == "str":
                if any(value is None for value in values.tolist()):
                    raise ValueError("it holds nulls")
                table[name] = np.array([str(value) for value in values.tolist()], dtype=object)
            else:
                if kind.startswith("int") and values.size and values.dtype.kind not in "iub":
                    raise ValueError(f"it is {values.dtype}")  # fractions, or nulls, which make integers floats
                table[name] = values.astype(kind)
        except (TypeError, ValueError) as error:
            raise DataError(f"{where}: column '{name}' is not {kind}: {error}") from None
    lengths = {name: values.size for name, values in table.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{where}: columns of unequal length: {lengths}")
    if not np.isin(np.asarray(columns["label"]), (0, 1)).all():
        raise DataError(f"{where}: labels must be 0 (real) or 1 (fake)")
    if not np.isfinite(table["logit"]).all():
        raise DataError(f"{where}: {int(np.sum(~np.isfinite(table['logit'])))} logits are not finite numbers")
    if not ((table["score"] >= 0) & (table["score"] <= 1)).all():
        raise DataError(f"{where}: scores must lie in [0, 1]")
    return table


def _arrow() -> tuple[Any, Any]:
    """Import pyarrow where it is needed: the metrics do without it."""
    import pyarrow
    import pyarrow.parquet

    return pyarrow, pyarrow.parquet


def write_predictions(path: Path | str, columns: Mapping[str, Any]) -> None:
    """Write ``columns`` (each (N,), see :data:`PREDICTION_COLUMNS`) to a Parquet file, whole or not at all."""
    pa, pq = _arrow()
    path = Path(path)
    table = checked_predictions(columns, str(path))
    arrays = {
        name: pa.array(table[name], type=pa.string() if kind == "str" else pa.type_for_alias(kind))
        for name, kind in PREDICTION_COLUMNS.items()
    }
    with whole_file(path) as partial:
        pq.write_table(pa.table(arrays), partial, compression="zstd")


def read_predictions(path: Path | str) -> Columns:
    """Read a predictions table; columns it does not know are left aside.

    Raises :class:`~facetell.errors.DataError` when there is no such file, it is not Parquet, or a column is unusable.
    """
    pa, pq = _arrow()
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no predictions at {path}", hint="`facetell evaluate` writes predictions.parquet")
    try:
        # A file handle, not the path: a folder named like key=value must not add a partition column.
        with path.open("rb") as file:
            table = pq.read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from error
    known = [name for name in table.column_names if name in PREDICTION_COLUMNS]
    return checked_predictions({name: table[name].to_numpy() for name in known}, str(path))
