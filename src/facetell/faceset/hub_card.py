"""The card of a face set on the hub: counts for people, and what ``datasets.load_dataset`` needs to know of the columns."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from facetell.faceset.table import SCHEMA, FaceSet
from facetell.hub.card import with_metadata
from facetell.labels import LABELS

__all__ = ["faceset_card"]


def faceset_card(name: str, faces: FaceSet, licence: str | None = None) -> str:
    """The whole card of a face set."""
    rows = "".join(
        f"| {split} | {label} | {source} | {count:,} |\n"
        for split in faces.splits
        for label, sources in faces.info["counts"][split].items()
        for source, count in sources.items()
    )
    files: dict[str, list[str]] = {split: [] for split in faces.splits}
    for shard in faces.info["shards"]:
        files[shard["split"]].append(shard["file"])
    metadata = {
        "pretty_name": name,
        "tags": ["facetell", "deepfake-detection"],
        "task_categories": ["image-classification"],
        "configs": [{"config_name": "default", "data_files": [{"split": at, "path": of} for at, of in files.items()]}],
        "dataset_info": {"features": [_feature(field) for field in SCHEMA]},
    }
    text = f"""# {name}

A face set of facetell: {len(faces):,} face crops, real or fake; fingerprint `{faces.fingerprint}`.

| split | label | source | faces |
| --- | --- | --- | --- |
{rows}
Groups (persons, videos) never cross splits. `faceset.json` holds the SHA-256 of every shard.

```
facetell pull hf://OWNER/NAME -o faces
facetell evaluate DETECTOR hf://OWNER/NAME
```
"""
    return with_metadata(text, metadata, licence)


def _feature(field: pa.Field) -> dict[str, Any]:
    """A column in the words of the hub's ``datasets``: pictures decode, labels have names."""
    if field.name == "image":
        return {"name": "image", "dtype": "image"}
    if field.name == "label":
        return {"name": "label", "dtype": {"class_label": {"names": {str(at): of for at, of in enumerate(LABELS)}}}}
    if pa.types.is_list(field.type):
        return {"name": field.name, "list": _dtype(field.type.value_type)}
    return {"name": field.name, "dtype": _dtype(field.type)}


def _dtype(kind: pa.DataType) -> str:
    return {"float": "float32", "double": "float64"}.get(str(kind), str(kind))
