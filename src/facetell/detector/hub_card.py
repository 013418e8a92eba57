"""The card of a detector on the hub: its own text, with the metadata that the hub shows and searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from facetell.errors import UsageError
from facetell.hub.card import with_metadata

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

__all__ = ["detector_card"]

TASK = "image-classification"
_NAMES = {
    "auroc": "roc_auc",
    "average_precision": "average_precision",
    "eer": "eer",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced_accuracy",
    "precision": "precision",
    "recall": "recall",
    "fpr": "fpr",
    "f1": "f1",
    "ece": "ece",
    "log_loss": "log_loss",
}
"""Our metrics, and what the hub calls them."""


def detector_card(
    name: str,
    card: str,
    description: Mapping[str, Any],
    metrics: Mapping[str, Any],
    reports: Sequence[Mapping[str, Any]] = (),
    licence: str | None = None,
) -> str:
    """The text ``card`` of a detector under metadata for the hub, with the results of ``reports``, what `facetell.evaluate`
    leaves in ``report.json``; without one, those of validation.

    Raises ``UsageError`` for a report on another detector.
    """
    from huggingface_hub import ModelCardData

    data = description["data"]
    results = [each for report in reports for each in _of_report(report, description)]
    if not reports:
        results = _results("validation", data["name"], data["fingerprint"], metrics.get("validation", {}))
    about = description.get("about", {})
    data_of_card = ModelCardData(
        library_name="facetell",
        pipeline_tag=TASK,
        tags=["facetell", "deepfake-detection", "onnx", description["method"]],
        model_name=name,
        eval_results=results or None,
    )
    metadata = data_of_card.to_dict()  # type: ignore[no-untyped-call]
    return with_metadata(card, metadata, licence or about.get("licence"))


def _of_report(report: Mapping[str, Any], description: Mapping[str, Any]) -> list[EvalResult]:
    context = report["context"]
    fitted = description["data"]["fingerprint"]
    if (context["fitted_on_fingerprint"], context["method"]) != (fitted, description["method"]):
        raise UsageError(
            f"the report is on another detector, {context['detector']}: that was fitted on other faces",
            hint="facetell evaluate DETECTOR FACESET -o REPORT",
        )
    return _results(context["split"], context["faceset"], context["faceset_fingerprint"], report["metrics"])


def _results(split: str, name: str, fingerprint: str, metrics: Mapping[str, Any]) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    found = []
    for ours, theirs in _NAMES.items():
        measured = metrics.get(ours)
        value, interval = (
            (measured["value"], {"low": measured["low"], "high": measured["high"], "interval": 0.95})
            if isinstance(measured, Mapping)
            else (measured, None)
        )
        if value is not None:
            found.append(
                EvalResult(
                    task_type=TASK, task_name="Fake face detection", dataset_type=name, dataset_name=f"{name}, split {split}",
                    dataset_split=split, dataset_args={"fingerprint": fingerprint}, metric_type=theirs, metric_name=ours,
                    metric_value=round(float(value), 6), metric_args=interval,
                )
            )  # fmt: skip
    return found
