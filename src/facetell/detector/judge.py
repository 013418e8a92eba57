"""Judges photos, videos and crops with a detector: finds the faces, scores them, and sums up."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from facetell.declared.reading import declared_by
from facetell.detector.decision import decided
from facetell.detector.pooling import PooledTrack, pool
from facetell.detector.verdict import FaceVerdict, StreamVerdict, TrackVerdict, Verdict, status_of
from facetell.errors import MediaError, UsageError
from facetell.media.limits import read_bytes
from facetell.pixels.decode import decode, read_picture, resize
from facetell.pixels.encode import encode
from facetell.pixels.opening import MAX_BYTES

if TYPE_CHECKING:
    from facetell.detector.decider import Decider
    from facetell.detector.detector import Detector
    from facetell.faces.face import Face
    from facetell.faces.finding import FaceFinder, Reading, Shot
    from facetell.media.frame_choice import Choice

__all__ = ["FACES", "Judge"]

log = logging.getLogger("facetell")

FACES = ("auto", "find", "crops")
BATCH = 64
UNCALIBRATED = (
    "the detector is uncalibrated, so its logit says neither fake nor real; next: facetell calibrate DETECTOR FACESET"
)
_SCORED = np.zeros((0, 0, 3), dtype=np.uint8)

Judged = tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]
"""Logits and deviations (N,), see `Detector.logits_and_deviations`."""


@dataclass
class _Sighting:
    """One face that waits for its score: where, when, and its crop at the detector's size."""

    face: Face | None
    frame: int | None
    time: float | None
    quality: float | None
    reason: str | None
    crop: npt.NDArray[np.uint8]
    scene: int = 0
    stream: int | None = None


Steps = Generator[list[_Sighting], Judged, Verdict]


class Judge:
    """Judges files and pictures, one at a time.

    ``faces``: ``find`` looks for faces, ``crops`` takes every picture as one face crop, ``auto`` does as the detector
    was fitted: a detector of cut-out faces looks for them; a detector of ready crops takes a picture as a crop if it
    looks like one (one face that fills it) and else looks for faces. Videos are always searched.
    ``frames``: which frames of a video, default 32 spread over time; ``model``: another face detector; ``threads``: for
    decoding and finding.
    """

    def __init__(
        self,
        detector: Detector,
        *,
        faces: str = "auto",
        frames: Choice | None = None,
        model: str | None = None,
        threads: int = 1,
    ) -> None:
        if faces not in FACES:
            raise UsageError(f"unknown choice of faces '{faces}'", hint=f"it is one of {', '.join(FACES)}")
        self.detector = detector
        self.faces = faces
        self.frames = frames
        self.model = model
        self.threads = threads
        self.record: dict[str, Any] | None = detector.description["input"]["crop"]
        self.looked_at: Callable[[int], None] = lambda shots: None
        """Told of each shot of a file: how many there were."""
        self._finder: FaceFinder | None = None
        self._kept: list[npt.NDArray[np.uint8]] | None = None

    @property
    def finder(self) -> FaceFinder:
        """Finds faces as the detector's training faces were found.

        Raises ``UsageError`` where another face detector would find them.
        """
        if self._finder is None:
            from facetell.faces.finding import FaceFinder, Finding

            finding = Finding.from_dict(self.record, self.model) if self.record else Finding(model=self.model)
            finder = FaceFinder(finding, self.frames, threads=self.threads)
            if self.record and finder.detector.fingerprint != self.record["model_fingerprint"]:
                other = f"faces are found by another face detector than the {self.record['model']} of training"
                if self.model is None:
                    raise UsageError(
                        other,
                        hint="fit it again on faces prepared anew, or take another one nonetheless: --face-model centerface",
                    )
                log.warning(other)
            self._finder = finder
        return self._finder

    def file(self, path: Path) -> Verdict:
        """Judge a file. Whatever is wrong with it is in the verdict."""
        return self.files([path])[0]

    def files(self, paths: Sequence[Path]) -> list[Verdict]:
        """Judge files together: the network sees the faces of all at once, which changes logits by rounding alone."""
        steps = [self._steps(path) for path in paths]
        verdicts: dict[int, Verdict] = {}
        waiting: list[tuple[int, list[_Sighting]]] = []

        def go_on(file: int, judged: Judged | None) -> None:
            try:
                waiting.append((file, next(steps[file]) if judged is None else steps[file].send(judged)))
            except StopIteration as stop:
                verdicts[file] = replace(stop.value, declared=declared_by(paths[file]))

        for file in range(len(paths)):
            go_on(file, None)
        while waiting:
            now, waiting = waiting, []
            logits, deviations = self._judged([sighting for _, sightings in now for sighting in sightings])
            at = 0
            for file, sightings in now:
                some = slice(at, at := at + len(sightings))
                go_on(file, (logits[some], deviations[some]))
        return [verdicts[file] for file in range(len(paths))]

    def _steps(self, path: Path) -> Steps:
        """Judge a file: gives sightings, takes what the network says of them, until there is a verdict."""
        try:
            if self._takes_crops(path):
                picture = read_picture(read_bytes(path, MAX_BYTES))
                sightings = [self._whole(picture.pixels)]
                verdict = self._sum_up(str(path), sightings, "picture", 1, (yield sightings))
                return _told(verdict, picture.truncated, picture.note, None)
            return (yield from self._read(str(path), self.finder.read(path)))
        except MediaError as error:
            return Verdict(str(path), status_of(error.reason), reason=error.message)

    def seen(self, path: Path) -> tuple[Verdict, npt.NDArray[np.uint8]]:
        """Judge a file, and give what the network saw: crops (F, size, size, 3) in the order of the verdict's faces."""
        self._kept = []
        try:
            verdict = self.file(path)
            crops = self._kept if verdict.faces else []
            size = self.detector.size
            return verdict, np.concatenate([np.zeros((0, size, size, 3), np.uint8), *crops])
        finally:
            self._kept = None

    def picture(self, pixels: npt.NDArray[np.uint8], name: str = "") -> Verdict:
        """Judge a picture in memory, uint8 (H, W, 3) RGB."""
        if self._takes_crops(None):
            return self._sum_up(name, [self._whole(pixels)], "picture", 1)
        shot = self.finder.shot(pixels)
        return self._as_shown(self._sum_up(name, self._of_picture(shot), "picture", 1), shot.turned)

    def _takes_crops(self, path: Path | None) -> bool:
        return self.faces == "crops" and (path is None or not _is_video(path))

    def _read(self, path: str, reading: Reading) -> Steps:
        """Judge a file shot by shot: crops wait in small batches, pixels of frames are let go."""
        sightings: list[_Sighting] = []
        judged: list[Judged] = []
        turned = scored = 0
        for shot in reading:
            turned = shot.turned
            self.looked_at(reading.shots)
            sightings.extend(self._of_picture(shot) if reading.kind == "picture" else self._of_frame(shot))
            if len(sightings) - scored >= BATCH:
                judged.append((yield sightings[scored:]))
                scored = len(sightings)
        judged.append((yield sightings[scored:]))
        logits, deviations = (np.concatenate(parts) for parts in zip(*judged, strict=True))
        verdict = self._sum_up(path, sightings, reading.kind, reading.shots, (logits, deviations))
        verdict = self._as_shown(verdict, turned)
        streams = [StreamVerdict(each.stream, each.frames, each.seconds) for each in reading.streams]
        return replace(_told(verdict, reading.missing, reading.note, reading.seconds), streams=streams)

    def _as_shown(self, verdict: Verdict, turned: int) -> Verdict:
        """The verdict with the turn of its picture, and with the next step where a crop may have been meant."""
        if verdict.status == "no_face" and verdict.kind == "picture" and self.faces == "auto" and self.record is None:
            verdict = replace(verdict, reason=f"{verdict.reason}; if it is a crop of a face: --faces crops")
        return replace(verdict, turned=turned)

    def _of_frame(self, shot: Shot) -> Iterator[_Sighting]:
        for found in shot.faces:
            crop = resize(self.stored(found.crop), self.detector.size)
            frame = None if shot.time is None else shot.index
            yield _Sighting(found.face, frame, shot.time, found.quality, found.reason, crop, shot.scene, shot.stream)

    def stored(self, crop: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The crop as training saw it: through the same JPEG, if the face set was stored as such."""
        quality = self.record["jpeg"] if self.record else None
        return crop if quality is None else decode(encode(crop, quality))

    def _of_picture(self, shot: Shot) -> list[_Sighting]:
        if self.faces == "auto" and self.record is None and shot.is_crop:
            return [self._whole(shot.pixels)]
        return list(self._of_frame(shot))

    def _whole(self, pixels: npt.NDArray[np.uint8]) -> _Sighting:
        return _Sighting(None, None, None, None, None, resize(pixels, self.detector.size))

    def _judged(self, sightings: list[_Sighting]) -> Judged:
        if not sightings:
            return np.zeros(0, np.float32), np.zeros(0)
        crops = np.stack([sighting.crop for sighting in sightings])
        judged = self.detector.logits_and_deviations(crops)
        if self._kept is not None:
            self._kept.append(crops)
        for sighting in sightings:
            sighting.crop = _SCORED  # not a slice of the crop: that would keep all its pixels in memory
        return judged

    def _sum_up(
        self,
        path: str,
        sightings: list[_Sighting],
        kind: str,
        frames: int,
        judged: Judged | None = None,
    ) -> Verdict:
        logits, deviations = self._judged(sightings) if judged is None else judged
        detector = self.detector
        tracks = _tracks(sightings)
        known = detector.calibration is not None
        scores = detector.scores(logits).tolist() if known else [None] * len(logits)
        rare = detector.p_known(deviations).tolist()
        faces = [_face(*each) for each in zip(sightings, tracks.tolist(), logits.tolist(), scores, rare, strict=True)]
        used = np.array([face.used for face in faces], dtype=np.bool_)
        if not used.any():
            status, reason = _silence([face.reason or "" for face in faces])
            return Verdict(path, status, reason=reason, kind=kind, frames=frames, faces=faces)
        seen = np.array([np.nan if face.time is None else face.time for face in faces])[used]
        pooled = pool(logits[used], tracks[used])
        decider = (detector.video_decider if kind == "video" else detector.decider) if known else None
        of_tracks = decider is not None and decider.of_tracks
        logit = pooled.logit(decider.real if decider else None, of_tracks=of_tracks)
        means = np.array([deviations[tracks == track.number].mean() for track in pooled.tracks])
        people = [
            _track(track, [face for face in faces if face.track == track.number and face.used], seen[track.faces], decider,
                   p, detector.unlike)
            for track, p in zip(pooled.tracks, detector.p_known(means).tolist(), strict=True)
        ]  # fmt: skip
        window = next(one.window for one in people if one.track == pooled.deciding.number)
        if decider is None:
            return Verdict(
                path,
                "uncalibrated",
                logit=logit,
                reason=UNCALIBRATED,
                kind=kind,
                frames=frames,
                window=window,
                faces=faces,
                tracks=people,
            )
        decision, why = decided(pooled, people, decider, detector.unlike)
        return Verdict(
            path,
            status=decision,
            decision=decision,
            logit=logit,
            score=decider.score(logit),
            corrected_for=pooled.parts(of_tracks=of_tracks),
            threshold=decider.shown_threshold,
            operating_point=detector.operating_point,
            unsure=decider.shown_band,
            prevalence=detector.prevalence,
            unlike=detector.unlike,
            reason=why,
            kind=kind,
            frames=frames,
            window=window,
            faces=faces,
            tracks=people,
        )


def _face(sighting: _Sighting, track: int, logit: float, score: float | None, p_known: float) -> FaceVerdict:
    face = sighting.face
    return FaceVerdict(
        frame=sighting.frame,
        time=sighting.time,
        box=face.box if face else None,
        landmarks=face.landmarks if face else None,
        face_score=face.score if face else None,
        quality=sighting.quality,
        track=track if track >= 0 else None,
        logit=logit,
        score=score,
        used=sighting.reason is None,
        reason=sighting.reason,
        stream=sighting.stream,
        p_known=None if np.isnan(p_known) else p_known,
    )


def _track(
    track: PooledTrack,
    faces: list[FaceVerdict],
    seen: npt.NDArray[np.float64],
    decider: Decider | None,
    p_known: float,
    unlike: float | None,
) -> TrackVerdict:
    """``seen``: the times (F,) of the faces that the track's logit is the mean of, NaN in a picture."""
    times = [face.time for face in faces if face.time is not None]
    start, end = (min(times), max(times)) if times else (None, None)
    window = (float(seen.min()), float(seen.max())) if times else None
    score, decision = (decider.score(track.logit), decider.decision(track.logit)) if decider else (None, None)
    rare = None if np.isnan(p_known) else p_known
    if decision and rare is not None and unlike is not None and rare <= unlike:
        decision = "unsure"
    return TrackVerdict(
        track.number, len(faces), start, end, window, track.logit, score, decision, faces[0].stream, rare
    )


def _tracks(sightings: list[_Sighting]) -> npt.NDArray[np.int64]:
    """The track of each face that is used, -1 for the others; in a picture each is its own."""
    tracks = np.full(len(sightings), -1, dtype=np.int64)
    used = [index for index, sighting in enumerate(sightings) if sighting.reason is None]
    rows = [
        (sighting.frame, sighting.time, sighting.face, sighting.scene)
        for sighting in (sightings[index] for index in used)
        if sighting.frame is not None and sighting.time is not None and sighting.face is not None
    ]
    if rows:
        from facetell.faces.tracks import link_rows

        tracks[used] = link_rows(*(list(column) for column in zip(*rows, strict=True)))
    else:
        tracks[used] = np.arange(len(used))
    return tracks


def _silence(reasons: list[str]) -> tuple[str, str]:
    """Status and reason for a file without a face to judge by."""
    if not reasons:
        return "no_face", "no face found"
    counts = Counter(reasons)
    said = ", ".join(f"{number} {reason}" for reason, number in counts.most_common())
    if set(reasons) == {"face_too_small"}:
        return "face_too_small", f"only faces too small to judge: {said}"
    return "unsure", f"no face good enough to judge by: {said}"


def _told(verdict: Verdict, missing: str, note: str, seconds: float | None) -> Verdict:
    """The verdict with what reading the file said."""
    if missing:
        reason = f"{missing}; {verdict.reason}" if verdict.reason else missing
        verdict = replace(verdict, status="truncated", reason=reason)
    return replace(verdict, note=note or None, seconds=seconds)


def _is_video(path: Path) -> bool:
    from facetell.media.kind import kind_of

    return kind_of(path) == "video"
