"""A face set for notebooks: a table of pandas, data sets of Hugging Face, HTML. Each library is imported when asked for."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from facetell.errors import MissingExtraError
from facetell.labels import LABELS

if TYPE_CHECKING:
    from facetell.faceset.table import FaceSet

__all__ = ["as_datasets", "as_html", "as_pandas"]


def as_pandas(faces: FaceSet, split: str | None, images: bool) -> Any:
    """The rows of a split, or of all, as a ``pandas.DataFrame``; see `FaceSet.to_pandas`."""
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtraError("a table of pandas", "notebook") from None
    names = [name for name in faces.schema.names if images or name != "image"]
    return faces.columns(names, split).to_pandas().set_index(pd.Index(faces.rows(split), name="row"))


def as_datasets(faces: FaceSet) -> Any:
    """The splits as a ``datasets.DatasetDict``; see `FaceSet.to_datasets`."""
    try:
        import datasets
    except ImportError:
        raise MissingExtraError("data sets of Hugging Face", "notebook") from None
    types = {
        **datasets.Features.from_arrow_schema(faces.schema),
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=list(LABELS)),
    }
    files: dict[str, list[str]] = {split: [] for split in faces.splits}
    for shard in faces.info["shards"]:
        files[shard["split"]].append(str(faces.path / shard["file"]))
    return datasets.load_dataset("parquet", data_files=files, features=datasets.Features(types))


def as_html(faces: FaceSet) -> str:
    """Name and fingerprint, and a line for each split: faces of each label, and sources."""
    head = "".join(f"<th>{word}</th>" for word in ("split", *LABELS, "sources"))
    rows = ""
    for split in faces.splits:
        labels = faces.info["counts"][split]
        numbers = "".join(f"<td>{sum(labels.get(label, {}).values()):,}</td>" for label in LABELS)
        sources = html.escape(", ".join(sorted({source for named in labels.values() for source in named})))
        rows += f"<tr><th>{split}</th>{numbers}<td>{sources}</td></tr>"
    about = f"<b>{html.escape(faces.path.name)}</b>: {len(faces):,} faces, fingerprint {faces.fingerprint[:12]}"
    return f"<div>{about}<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
