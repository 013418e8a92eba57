"""A detector in memory: logits, calibrated scores and decisions for faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from facetell.detector.bundle import identity_of, located, read_bundle, read_lineage, steadily
from facetell.detector.calibration import DEFAULT, calibration_of, deciders_of, uncalibrated
from facetell.detector.decider import Decider
from facetell.detector.description import EMBEDDING
from facetell.detector.judge import Judge
from facetell.detector.known_faces import Embedding, check_unlike, read_embedding
from facetell.detector.lineage import Lineage
from facetell.detector.predictions import BATCH, Predictions, predict
from facetell.detector.replay_buffer import open_replay_buffer
from facetell.detector.runtimes import Embeds, Runtime, load_runtime, runtime_for
from facetell.detector.selftest import replayed
from facetell.detector.verdict import Verdict
from facetell.errors import BundleError, DataError, UsageError
from facetell.pixels.decode import as_pixels, decode, resize
from facetell.progress import ShowProgress, callback
from facetell.results import EvaluateResult, VerifyResult
from facetell.settings import check_counts

if TYPE_CHECKING:
    from PIL import Image

    from facetell.faceset.table import FaceSet
    from facetell.media.frame_choice import Choice

__all__ = ["Detector"]


class Detector:
    """A network with its calibration, ready to judge. Make one with ``Detector.load``.

    ``runtime`` computes the logits of crops of its size; ``description`` is what ``detector.json`` holds.
    """

    def __init__(
        self,
        runtime: Runtime,
        description: dict[str, Any],
        *,
        at: str = DEFAULT,
        prevalence: float | None = None,
        unlike: float | None = None,
        known: Embedding | None = None,
        lineage: Lineage | None = None,
        path: Path | None = None,
    ) -> None:
        check_unlike(unlike)
        self.runtime = runtime
        self.description = description
        self.size: int = description["input"]["size"]
        self.operating_point = at
        self.prevalence = prevalence
        self.path = path
        """Its bundle, None for one that was never written."""
        self.identity = identity_of(path) if path else ""
        """What tells it from others, in verdicts: first hex digits of the SHA-256 of ``detector.json``."""
        self.calibration = calibration_of(description)
        """Of these weights; None for a detector that gives logits and no decision."""
        self.known = known if isinstance(runtime, Embeds) else None
        """The faces it knows, None where it keeps none."""
        if self.known is None and unlike:
            raise UsageError(
                "the detector keeps no known faces, so none is unlike them",
                hint="it takes a detector fitted with 50 validation faces or more",
            )
        self.unlike = self.known.unlike(unlike) if self.known else None
        """Share of known faces that are called unlike all it knows, None where none is."""
        self.lineage = lineage or Lineage()
        """What it has learned from."""
        self._deciders = deciders_of(description, at, prevalence)
        self._judge: tuple[tuple[Any, ...], Judge] | None = None

    @classmethod
    def load(
        cls,
        path: str | Path,
        device: str = "auto",
        *,
        at: str = DEFAULT,
        prevalence: float | None = None,
        unlike: float | None = None,
        threads: int | None = None,
        runtime: str | None = None,
    ) -> Detector:
        """Read a bundle.

        Args:
            path: its folder, or its name in the folder of detectors (`facetell.detector.bundle.detectors_folder`).
            device: ``auto``, ``cpu`` or ``cuda``.
            at: which of its operating points decides (``facetell threshold`` makes them).
            prevalence: share of fakes, in (0, 1), that scores and threshold are moved to; the decisions stay.
            unlike: share of known faces, in [0, 1), that are called unlike all it knows, and so unsure; 0: none. By default
                0.01 where it keeps enough known faces.
            threads: of the whole process, for one that does nothing else; None leaves them as they are.
            runtime: what computes the logits: ``onnx``, ``torch`` or ``openvino``; by default what the detector is for.

        Raises:
            BundleError: with the reason for anything that is not exactly as it was written.
            UsageError: it has no such operating point, is uncalibrated and ``at`` or ``prevalence`` are given, or knows too
                few faces for ``unlike``.
        """
        check_counts(threads=threads)
        path = located(path)
        return steadily(path, lambda: cls._open(path, device, at, prevalence, unlike, threads, runtime))

    @classmethod
    def _open(
        cls,
        path: Path,
        device: str,
        at: str = DEFAULT,
        prevalence: float | None = None,
        unlike: float | None = None,
        threads: int | None = None,
        runtime: str | None = None,
    ) -> Detector:
        description = read_bundle(path)
        try:
            engine = load_runtime(path, description, runtime_for(description, runtime, device), device, threads)
            lineage = read_lineage(path, description)
            known = read_embedding(path, description) if EMBEDDING in description["files"] else None
            return cls(
                engine,
                description,
                at=at,
                prevalence=prevalence,
                unlike=unlike,
                known=known,
                lineage=lineage,
                path=path,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{path}: detector.json is damaged: {error!r}") from error

    @property
    def decider(self) -> Decider:
        """Scores and decisions for one face. Raises ``UsageError`` for an uncalibrated detector."""
        if self._deciders is None:
            raise uncalibrated("score or decision")
        return self._deciders[0]

    @property
    def video_decider(self) -> Decider:
        """The same for a whole video, which is judged as a face where too few videos were there to calibrate on."""
        if self._deciders is None:
            raise uncalibrated("score or decision")
        return self._deciders[1]

    @classmethod
    def verify(cls, path: str | Path) -> VerifyResult:
        """Check a bundle whole: files, tensors, its replay buffer, and that the self-test gives its logits again."""
        path = located(path)
        return steadily(path, lambda: cls._verify(path))

    @classmethod
    def _verify(cls, path: Path) -> VerifyResult:
        detector = cls._open(path, "cpu")
        description = detector.description
        replay = open_replay_buffer(path, description)
        if replay is not None:
            try:
                replay.verify()
            except DataError as error:
                raise BundleError(f"{path}: its replay buffer is damaged: {error.message}", hint=error.hint) from error
        points = detector.calibration.face.points if detector.calibration else {}
        differences = replayed(detector)
        return VerifyResult(
            detector=str(path),
            method=description["method"],
            size=detector.size,
            parameters=description["parameters"],
            files=len(description["files"]),
            replay=len(replay) if replay is not None else 0,
            operating_points={name: point.value for name, point in points.items()},
            selftest_difference=max(differences.values()),
            selftest=differences,
        )

    def logits(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Logits (N,) of crops (N, size, size, 3), uint8 RGB; higher = more fake. Raises ``UsageError`` for others."""
        if images.shape[1:] != (self.size, self.size, 3) or images.dtype != np.uint8:
            raise UsageError(
                f"this detector takes crops (N, {self.size}, {self.size}, 3) in uint8, not {images.shape} in {images.dtype}",
                hint="Detector.detect takes pictures of any size",
            )
        return self.runtime.logits(images)

    def logits_and_deviations(
        self, images: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
        """Logits (N,) as above, and how far (N,) each face lies from those it knows, NaN where it does not ask."""
        if self.known is None or self.unlike is None or not isinstance(self.runtime, Embeds):
            return self.logits(images), np.full(len(images), np.nan)
        logits, vectors = self.runtime.logits_and_vectors(images)
        return logits, self.known.deviation(vectors)

    def p_known(self, deviations: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """How rare (N,) such deviations (N,) are among known faces: the share that lies as far. NaN where it does not ask."""
        return deviations if self.known is None or self.unlike is None else self.known.p(deviations)

    def scores(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Calibrated probabilities of fake for the logits of faces, at the detector's prevalence."""
        return self.decider.scores(logits)

    def predict_proba(
        self, pictures: npt.NDArray[np.uint8] | Sequence[str | Path | Image.Image | npt.NDArray[np.uint8]]
    ) -> npt.NDArray[np.float64]:
        """Probabilities (N, 2) of real and of fake, of face crops: arrays (N, H, W, 3) in uint8, or paths, PIL images and
        arrays of any size.

        Each is taken as one face crop; `detect` looks for faces. Raises ``ImageError`` for a file that is no picture.
        """
        size = self.size
        crops = np.zeros((len(pictures), size, size, 3), np.uint8)
        for crop, item in zip(crops, pictures, strict=True):
            whole = decode(Path(item).read_bytes()) if isinstance(item, str | Path) else as_pixels(item)
            crop[:] = resize(whole, size)
        scores = np.concatenate([np.zeros(0), *(self.scores(self.logits(crops[at : at + BATCH]))
                                                for at in range(0, len(crops), BATCH))])  # fmt: skip
        return np.column_stack([1 - scores, scores])

    def predict(
        self, faces: FaceSet | str | Path, split: str = "test", *, progress: ShowProgress = None
    ) -> Predictions:
        """Score a split of a face set: a table with a row per face, see `Predictions`.

        Raises ``DataError`` for a face set that cannot be used.
        """
        from facetell.faceset.table import FaceSet

        opened = faces if isinstance(faces, FaceSet) else FaceSet.open(faces)
        return predict(self, opened, split, callback(progress))

    def evaluate(self, faces: FaceSet | str | Path, out: str | Path | None = None, **options: Any) -> EvaluateResult:
        """What it says of a labelled split: :func:`facetell.evaluate`, which names the ``options``."""
        import facetell  # the verbs stand above this room

        return facetell.evaluate(self, faces, out, **options)

    def __repr__(self) -> str:
        about = f"{self.description['method']}, {self.size}×{self.size} pixels, {self.description['parameters']:,} parameters"
        if self.calibration is None:
            return f"Detector({about}, uncalibrated)"
        return (
            f"Detector({about}, fake from {self.decider.shown_threshold:.3f}, operating point {self.operating_point})"
        )

    def _repr_html_(self) -> str:
        """The same for a notebook, as a table."""
        data = self.description["data"]
        rows = {
            "method": self.description["method"],
            "input": f"{self.size}×{self.size} pixels",
            "parameters": f"{self.description['parameters']:,}",
            "fitted on": f"{data['name']}, split {data['split']}",
            "fake from": "uncalibrated" if self.calibration is None else f"{self.decider.shown_threshold:.3f}",
            "operating point": self.operating_point,
        }
        cells = (f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in rows.items())
        return f"<table>{''.join(cells)}</table>"

    def detect(
        self,
        item: str | Path | Image.Image | npt.NDArray[np.uint8],
        *,
        faces: str = "auto",
        frames: Choice | None = None,
        face_model: str | None = None,
    ) -> Verdict:
        """Judge a photo, a video or a face crop: a path, a PIL image or an array uint8 (H, W, 3) RGB.

        ``faces``: ``find``, ``crops`` or ``auto``, see `Judge`; ``frames``: which of a video, default 32 spread over
        time. Whatever is wrong with a file is in the verdict. A file is read in this process: for files of strangers
        use `facetell.detect`, which survives those that crash a decoder.

        Raises:
            UsageError: an array that is no picture.
        """
        options = (faces, frames, face_model)
        if self._judge is None or self._judge[0] != options:
            self._judge = options, Judge(self, faces=faces, frames=frames, model=face_model)
        judge = self._judge[1]
        verdict = judge.file(Path(item)) if isinstance(item, str | Path) else judge.picture(as_pixels(item))
        return replace(verdict, detector=self.identity)
