"""Animated pictures and files with several video streams: every part is looked at, and what was is said."""

from __future__ import annotations

import io
import json
import struct
import time
from pathlib import Path

import inline
import numpy as np
import pytest
from faceclips import background, needs_media, walk
from PIL import Image
from schema import errors

import facetell
from facetell.cli.main import main
from facetell.detector import verdict as verdicts
from facetell.detector.judge import Judge
from facetell.errors import MediaError
from facetell.faces.face import Face
from facetell.faces.tracks import link_rows
from facetell.media.frame_choice import All, Spread
from facetell.media.frames import Frames, frames
from facetell.media.kind import kind_of
from facetell.media.limits import Limits
from facetell.pixels.decode import read_picture

needs_media()

DELAYS = [50, 0, 200, 300, 20]
STARTS = [0.0, 0.05, 0.15, 0.35, 0.65]
"""A delay of 0 is shown for 100 ms, as browsers do."""
GREYS = [20, 60, 100, 140, 180]


def film(kind: str, greys: list[int] = GREYS, **options: object) -> bytes:
    images = [Image.new("RGB", (32, 24), (grey,) * 3) for grey in greys]
    out = io.BytesIO()
    options = {"duration": DELAYS[: len(greys)], **({"lossless": True} if kind == "WEBP" else {}), **options}
    images[0].save(out, kind, save_all=True, append_images=images[1:], **options)
    return out.getvalue()


def seen(
    path: Path, data: bytes, choice: object = None, limits: Limits | None = None
) -> tuple[Frames, list[int], list[float]]:
    """The frames, how grey each is, and when."""
    path.write_bytes(data)
    video = frames(path, choice or All(), limits)
    shots = list(video)
    return video, [int(shot.pixels[9, 9, 1]) for shot in shots], [round(shot.time, 3) for shot in shots]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_an_animation_is_a_video(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "film.jpg"
    video, greys, times = seen(path, film(kind))
    assert kind_of(path) == "video"
    assert (greys, times) == (GREYS, STARTS)
    assert (video.account.seconds, video.account.given, video.missing) == (pytest.approx(0.67), 5, "")
    assert seen(path, film(kind), Spread(2))[1] == [GREYS[2], GREYS[3]], "shown at 1/4 and 3/4 of .67 s"


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_one_frame_is_a_picture(kind: str, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(film(kind, GREYS[:1]))
    assert kind_of(tmp_path / "one") == "picture"


def test_the_picture_for_viewers_without_animation_is_no_frame_of_it(tmp_path: Path) -> None:
    _, greys, _ = seen(tmp_path / "a.png", film("PNG", default_image=True, duration=100))
    assert greys == GREYS[1:]
    picture = read_picture(film("PNG", GREYS[:2], default_image=True, duration=100))
    assert (set(picture.pixels.flat), picture.note) == ({GREYS[1]}, ""), (
        "a browser shows the one frame, and never the other"
    )


def test_frames_lie_on_those_before(tmp_path: Path) -> None:
    """A GIF of 2 x 1 pixels whose second frame is its right pixel alone."""
    head = b"GIF89a" + struct.pack("<HH", 2, 1) + b"\x80\0\0" + bytes([10, 10, 10, 200, 200, 200])
    control, one = b"!\xf9\x04\x04\x0a\0\0\0", b"\2\2\x44\1\0"  # keep what is there; code 0, end
    other = b"\2\2\x4c\1\0"  # code 1, end
    first = control + b"," + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0" + one
    second = control + b"," + struct.pack("<HHHH", 1, 0, 1, 1) + b"\0" + other
    (tmp_path / "a.gif").write_bytes(head + first + second + b";")
    shots = list(frames(tmp_path / "a.gif", All()))
    assert shots[1].pixels[0, :, 0].tolist() == [10, 200]


def test_a_sequence_in_avif(tmp_path: Path) -> None:
    video, greys, times = seen(tmp_path / "a.avif", film("AVIF", duration=100, quality=95))
    assert times == [0.0, 0.1, 0.2, 0.3, 0.4]
    np.testing.assert_allclose(greys, GREYS, atol=3)
    assert video.note == "", "the still picture beside the sequence is no stream of it"


@pytest.mark.parametrize(("kind", "cut"), [("GIF", 40), ("PNG", 60), ("WEBP", 30)])
def test_what_is_there_of_a_truncated_animation(kind: str, cut: int, tmp_path: Path) -> None:
    video, greys, times = seen(tmp_path / "a", film(kind)[:-cut])
    assert 0 < len(greys) < 5
    assert (greys, times) == (GREYS[: len(greys)], STARTS[: len(greys)])
    assert video.missing.startswith("truncated: ends after")


def test_a_damaged_later_frame(tmp_path: Path) -> None:
    data = bytearray(film("PNG"))
    data[data.rindex(b"fdAT") + 12] ^= 0xFF
    video, greys, _ = seen(tmp_path / "a.png", bytes(data))
    assert greys == GREYS[:4]
    assert video.missing.startswith("truncated")
    assert "fdAT" in video.note
    data = bytearray(film("WEBP"))
    data[data.rindex(b"VP8L") + 4] ^= 0xFF
    assert seen(tmp_path / "a.webp", bytes(data))[1] == GREYS[:4]


def test_frames_are_chosen_among_those_that_are_there(tmp_path: Path) -> None:
    """The moment in the middle of .67 s is that of the fourth frame, which is damaged."""
    data = bytearray(film("PNG"))
    for number, place in enumerate(at for at in range(len(data)) if data[at : at + 4] == b"fdAT"):
        data[place + 12] ^= 0xFF * (number >= 1)
    video, greys, _ = seen(tmp_path / "a.png", bytes(data), Spread(1))
    assert greys == [GREYS[1]], "of .15 s that are there, the middle is in the second"
    assert video.account.frames == 2


POINT = b"!\xf9\x04\0\x0a\0\0\0," + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0\2\2\x44\1\0"


def gif(width: int, height: int, blocks: bytes) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + bytes(6) + blocks + b";"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (gif(30_000, 30_000, 3 * POINT), "pixels, the limit"),
        (gif(10, 10, 2_000 * POINT), "1,000 frames"),
        (gif(10, 10, 900 * POINT), "s is the limit"),
    ],
    ids=["canvas", "frames", "time"],
)
def test_limits(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=message):
        seen(tmp_path / "a.gif", data, limits=Limits(max_frames=1_000, max_seconds=60))


@pytest.mark.slow
def test_a_file_made_of_small_blocks_costs_little_time(tmp_path: Path) -> None:
    began = time.process_time()
    blocks = gif(9, 9, b"," + bytes(8) + b"\0\2" + 8_000_000 * b"\1\1")
    chunks = film("PNG")[:8] + 2_000_000 * b"\0\0\0\0aaaa\0\0\0\0"
    for data in (blocks, chunks):
        (tmp_path / "a").write_bytes(data)
        assert kind_of(tmp_path / "a") == "picture"
    assert time.process_time() - began < 5


def test_a_later_frame_does_not_make_the_canvas_too_large(tmp_path: Path) -> None:
    far = POINT.replace(struct.pack("<HH", 0, 0) + struct.pack("<HH", 1, 1), struct.pack("<HHHH", 29_000, 29_000, 1, 1))
    video, greys, _ = seen(tmp_path / "a.gif", gif(100, 100, POINT + 3 * far))
    assert len(greys) == 1
    assert video.missing.startswith("truncated")


def two_streams(path: Path, first: list[np.ndarray], second: list[np.ndarray]) -> Path:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as out:
        streams = []
        for pixels in (first, second):
            stream = out.add_stream("libx264", rate=10)
            stream.height, stream.width = pixels[0].shape[:2]
            stream.pix_fmt, stream.options = "yuv420p", {"crf": "20", "preset": "ultrafast"}
            streams.append(stream)
        for stream, pixels in zip(streams, (first, second), strict=True):
            for picture in pixels:
                out.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
            out.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def ready(fitted: Path) -> facetell.Detector:
    return facetell.Detector.load(fitted, "cpu")


def test_every_stream_is_judged(ready: facetell.Detector, tmp_path: Path) -> None:
    empty, person = [background(7)] * 6, walk(54, 6)
    path = two_streams(tmp_path / "two.mkv", empty, person)
    verdict = Judge(ready, frames=All()).file(path)
    assert verdict.decision is not None, "the face is in the second stream"
    assert [(each.stream, each.frames) for each in verdict.streams] == [(0, 6), (1, 6)]
    assert verdict.frames == 12
    assert {face.stream for face in verdict.faces} == {1}
    assert max(face.time or 0 for face in verdict.faces) < 0.6, "time is that of its stream"
    assert "2 of 2 video streams" in (verdict.note or "")
    schema = json.loads((Path(verdicts.__file__).parent / "verdict.schema.json").read_text(encoding="utf-8"))
    assert list(errors(json.loads(json.dumps(verdict.as_dict())), schema, schema)) == []


def test_the_table_names_the_stream_that_decides(
    fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inline.judge_here(monkeypatch)
    path = two_streams(tmp_path / "two.mkv", [background(7)] * 6, walk(54, 6))
    with pytest.raises(SystemExit):
        main(["detect", str(fitted), str(path)])
    line = capsys.readouterr().out.splitlines()[1]
    assert " of stream 1)" in line
    assert line.count("2 of 2 video streams looked at") == 1


def test_an_animation_with_an_empty_first_frame(ready: facetell.Detector, tmp_path: Path) -> None:
    images = [Image.fromarray(pixels) for pixels in [background(7), *walk(54, 5)]]
    images[0].save(tmp_path / "a.webp", save_all=True, append_images=images[1:], duration=100, lossless=True)
    verdict = Judge(ready, frames=All()).file(tmp_path / "a.webp")
    assert verdict.decision is not None
    assert (verdict.kind, verdict.frames, len(verdict.tracks)) == ("video", 6, 1)
    assert verdict.seconds == pytest.approx(0.6)


def test_another_stream_begins_other_tracks() -> None:
    face = Face((10.0, 10.0, 50.0, 60.0), ((0.0, 0.0),) * 5, 0.9)
    tracks = link_rows([0, 1, 2, 3], [0.0, 0.1, 0.0, 0.1], [face] * 4, [0] * 4)
    assert tracks.tolist() == [0, 0, 1, 1]


def test_animations_are_no_face_crops(tmp_path: Path) -> None:
    for label in ("real", "fake"):
        (tmp_path / "faces" / label).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(background(i + 9 * (label == "real"))).save(tmp_path / "faces" / label / f"{i}.png")
    (tmp_path / "faces" / "fake" / "moving.gif").write_bytes(film("GIF"))
    faceset = facetell.prepare(tmp_path / "faces", tmp_path / "set")
    assert len(faceset) == 6
    line = next(line for line in (tmp_path / "set" / "skipped.csv").read_text().splitlines() if "moving.gif" in line)
    assert "unsupported" in line
    assert "--faces find" in line
