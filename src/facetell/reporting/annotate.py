"""Pictures of a verdict: the photo with its boxes; for a video a contact strip, a clip, and the scores over time."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from facetell.buckets import place
from facetell.detector.verdict import FaceVerdict, Verdict
from facetell.errors import MediaError, MissingExtraError
from facetell.faces.turns import turned
from facetell.files import whole_file
from facetell.media.at_hand import at_hand
from facetell.media.walk import DRAWN
from facetell.names import shortened
from facetell.pixels.decode import read_picture
from facetell.reporting.timeline import scores_over_time

if TYPE_CHECKING:
    from facetell.media.frame import Frame

__all__ = ["annotate", "annotated_names"]

_COLOURS = {"fake": "#D55E00", "real": "#0072B2", "unsure": "#222222", None: "#8A8A8A"}
"""As in the plots; and every box carries its word."""

STRIP = 12
THUMB = 320
CLIP_SIDE = 1280
STEM = 120
"""Bytes of a file's name in the names of its pictures: a name of a disk has 255, of which writing needs some."""


def annotated_names(path: str) -> dict[str, str]:
    """Names of the files that `annotate` writes for a path; files of one name in two folders do not collide."""
    stem = f"{shortened(Path(path).stem, STEM)}-{hashlib.sha256(path.encode(errors='replace')).hexdigest()[:8]}"
    return {"picture": f"{stem}.jpg", "strip": f"{stem}.strip.jpg", "clip": f"{stem}.mp4", "plot": f"{stem}.scores.png"}


def annotate(verdict: Verdict, folder: Path) -> list[Path]:
    """Draw a verdict into ``folder``; returns the files written.

    A picture gives a JPEG with a box, a word and a score for each face by itself, and where it has several a line that
    says what the picture is called. A video gives a strip of at most 12 of the
    frames with faces, an MP4 in which each box stays until about the next frame that was looked at, and a plot of all
    scores over time (with the extra ``report``). Each carries `DRAWN`, so as not to be judged. Nothing is written for a
    file in which nothing was looked at.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = annotated_names(verdict.path)
    try:
        with at_hand(place(verdict.path)) as file:
            if verdict.kind == "picture":
                return [_picture(verdict, file, folder / names["picture"])]
            written = _video(verdict, file, folder / names["strip"], folder / names["clip"])
    except MediaError:  # it was readable a moment ago
        return []
    return [*written, *_plot(verdict, folder / names["plot"])]


def _picture(verdict: Verdict, file: Path, out: Path) -> Path:
    pixels = turned(read_picture(file.read_bytes()).pixels, verdict.turned)
    return _save(_draw(pixels, verdict.faces, verdict, CLIP_SIDE * 2), out)


def _video(verdict: Verdict, file: Path, strip_out: Path, clip_out: Path) -> list[Path]:
    from facetell.media.frame_choice import All
    from facetell.media.frames import frames
    from facetell.media.limits import Limits

    by_frame: dict[int, list[FaceVerdict]] = defaultdict(list)
    for face in verdict.faces:
        if face.frame is not None:
            by_frame[face.frame].append(face)
    looked = sorted(by_frame)
    wanted = (
        {looked[i] for i in np.linspace(0, len(looked) - 1, min(STRIP, len(looked))).round().astype(int)}
        if looked
        else set()
    )
    thumbs: list[Image.Image] = []
    # Frames without a face are not in the verdict; so long after a face, one would have been looked at.
    patience = 1.5 * (verdict.seconds or 0.0) / max(1, verdict.frames)

    shown = verdict.streams[0].stream if verdict.streams else 0

    def drawn() -> Iterator[tuple[Frame, Image.Image]]:
        current: list[FaceVerdict] = []
        seen = 0.0
        for frame in frames(file, All(), Limits()):
            if frame.index in by_frame:
                current, seen = by_frame[frame.index], frame.time
            elif frame.time > seen + patience:
                current = []
            if frame.index in wanted:
                thumb = _draw(turned(frame.pixels, verdict.turned), current, verdict, THUMB)
                ImageDraw.Draw(thumb).text((4, thumb.height - 16), f"{frame.time:.2f} s", fill="white", font=_font(12))
                thumbs.append(thumb)
            if frame.stream != shown:  # the clip is of the stream that a player shows
                continue
            yield frame, _draw(turned(frame.pixels, verdict.turned), current, verdict, CLIP_SIDE)

    _write_clip(drawn(), clip_out)
    return [clip_out, _save(_strip(thumbs), strip_out)] if thumbs else [clip_out]


def _draw(pixels: npt.NDArray[np.uint8], faces: list[FaceVerdict], verdict: Verdict, side: int) -> Image.Image:
    """The frame, at most ``side`` pixels long, with a box and a label for each face."""
    image = Image.fromarray(pixels)
    scale = min(1.0, side / max(image.size))
    if scale < 1:
        image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    draw = ImageDraw.Draw(image)
    line = max(2, round(max(image.size) / 320))
    for face in faces:
        word = verdict.word(face) if face.used else None
        colour = _COLOURS[word]
        left, top, width, height = face.box or (0, 0, pixels.shape[1], pixels.shape[0])
        box = [left * scale, top * scale, (left + width) * scale, (top + height) * scale]
        draw.rectangle(box, outline=colour, width=line)
        text = f"{word} {face.score:.2f}" if word else (face.reason or "").replace("_", " ")
        font = _font(max(11, round(max(image.size) / 55)))
        right, bottom = draw.textbbox((0, 0), text, font=font)[2:]
        x = max(0, min(box[0], image.width - right - 4))
        y = max(0, box[1] - bottom - 4)
        draw.rectangle([x, y, x + right + 4, y + bottom + 4], fill=colour)
        draw.text((x + 2, y + 1), text, fill="white", font=font)
    if verdict.corrected_for is not None and verdict.corrected_for > 1:
        font = _font(max(11, round(max(image.size) / 55)))
        text = f"whole file: {verdict.decision} {verdict.score:.2f}; a box is one face alone"
        right, bottom = draw.textbbox((0, 0), text, font=font)[2:]
        draw.rectangle([0, 0, right + 4, bottom + 4], fill=_COLOURS[verdict.decision])
        draw.text((2, 1), text, fill="white", font=font)
    return image


def _strip(thumbs: list[Image.Image]) -> Image.Image:
    """Thumbnails in rows of four."""
    width, height = max(t.width for t in thumbs), max(t.height for t in thumbs)
    columns = min(4, len(thumbs))
    rows = -(-len(thumbs) // columns)
    sheet = Image.new("RGB", (columns * (width + 4) - 4, rows * (height + 4) - 4), "white")
    for index, thumb in enumerate(thumbs):
        sheet.paste(thumb, ((index % columns) * (width + 4), (index // columns) * (height + 4)))
    return sheet


def _write_clip(drawn: Iterator[tuple[Frame, Image.Image]], out: Path) -> None:
    """Write an H.264 clip with the times of the original, written beside and renamed."""
    import av

    stream: Any = None
    shape = (0, 0)
    last = -1
    with whole_file(out) as partial, av.open(str(partial), "w", format="mp4") as container:
        container.metadata["comment"] = DRAWN
        for frame, image in drawn:
            if stream is None:
                shape = (image.width // 2 * 2 or 2, image.height // 2 * 2 or 2)
                stream = container.add_stream("libx264" if "libx264" in av.codecs_available else "mpeg4", rate=30)
                stream.width, stream.height = shape
                stream.pix_fmt = "yuv420p"
                stream.time_base = Fraction(1, 90_000)
                stream.codec_context.time_base = stream.time_base
            picture: Any = av.VideoFrame.from_ndarray(np.asarray(image.resize(shape) if image.size != shape else image))
            last = max(last + 1, round(frame.time * 90_000))
            picture.pts, picture.time_base = last, stream.time_base
            container.mux(stream.encode(picture))
        if stream is not None:
            container.mux(stream.encode())


def _plot(verdict: Verdict, out: Path) -> list[Path]:
    """Scores over time; nothing without the extra ``report`` or without faces that count."""
    if not verdict.tracks:
        return []
    try:
        scores_over_time(verdict, out)
    except MissingExtraError:
        return []
    return [out]


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _save(image: Image.Image, out: Path) -> Path:
    with whole_file(out) as partial:
        image.save(partial, "JPEG", quality=90, comment=DRAWN)
    return out
