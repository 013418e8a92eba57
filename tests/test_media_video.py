"""Videos of many kinds: the right frames by their time stamps, upright, whatever the container and the format."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import HEIGHT, RATE, WIDTH, av, clip, number_of, numbered, open_video

from facetell.media.frame import Account, Frame
from facetell.media.frame_choice import All, Choice, Every, Spread
from facetell.media.frames import Frames, frames
from facetell.media.kind import kind_of


def read(path: Path, choice: Choice | None = None, **options: Any) -> tuple[list[Frame], Account]:
    video = frames(path, choice or All(), **options)
    return list(video), video.account


def shown_at(moments: list[float], times: list[float]) -> list[int]:
    """Index of the frame on screen at each moment, once each: the slow truth."""
    return sorted({max(i for i, time in enumerate(times) if time <= moment + 1e-9) for moment in moments})


UNEVEN = [
    0,
    40,
    80,
    130,
    1000,
    1010,
    1050,
    2500,
    2600,
    2700,
    2750,
    4000,
    4010,
    4020,
    4030,
    4500,
    5000,
    5100,
    5800,
    5900,
]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize("count", [1, 3, 7, 19, 20, 50])
def test_spread_over_time_with_a_variable_frame_rate(tmp_path: Path, suffix: str, count: int) -> None:
    path = clip(tmp_path / f"clip{suffix}", UNEVEN)
    everything, account = read(path)
    times = [frame.time for frame in everything]
    np.testing.assert_allclose(times, np.array(UNEVEN) / 1000, atol=1e-3)
    some, account = read(path, Spread(count))
    moments = [(i + 0.5) / count * account.seconds for i in range(count)]
    assert [f.index for f in some] == (list(range(20)) if count >= 20 else shown_at(moments, times))
    assert [number_of(f.pixels) for f in some] == [f.index for f in some]
    assert (account.frames, account.given, account.corrupt, account.missing) == (20, len(some), 0, "")


def test_every_so_often_with_a_variable_frame_rate(tmp_path: Path) -> None:
    some, _ = read(clip(tmp_path / "clip.mp4", UNEVEN), Every(Fraction(3, 4)))
    times = [stamp / 1000 for stamp in UNEVEN]
    assert [f.index for f in some] == shown_at([0.75 * i for i in range(8)], times)


KINDS: list[tuple[str, str, str]] = [
    (".mp4", "libx264", "yuv420p"),
    (".mov", "mjpeg", "yuvj420p"),
    (".mkv", "ffv1", "gray"),
    (".mkv", "ffv1", "bgra"),
    (".mkv", "ffv1", "yuv422p10le"),
    (".mkv", "libx264", "yuv444p"),
    (".webm", "libvpx-vp9", "yuv420p"),
    (".webm", "libvpx", "yuv420p"),
    (".avi", "mpeg4", "yuv420p"),
    (".avi", "libx264", "yuv420p"),
    (".avi", "rawvideo", "rgb24"),
    (".ts", "libx264", "yuv420p"),
    (".flv", "flv", "yuv420p"),
    (".3gp", "mpeg4", "yuv420p"),
    (".y4m", "wrapped_avframe", "yuv420p"),
]


@pytest.mark.parametrize(("suffix", "codec", "pixel_format"), KINDS)
def test_containers_codecs_and_pixel_formats(tmp_path: Path, suffix: str, codec: str, pixel_format: str) -> None:
    path = clip(tmp_path / f"clip{suffix}", codec=codec, pixel_format=pixel_format)
    hidden = path.rename(tmp_path / "holiday.jpg")
    assert kind_of(hidden) == "video", "by content, not by name"
    info = open_video(hidden)
    assert (info.width, info.height, info.rotation, info.rate) == (WIDTH, HEIGHT, 0, RATE)
    found, account = read(hidden, Spread(8))
    assert [frame.index for frame in found] == [2, 7, 12, 17, 22, 27, 32, 37]
    assert [round(frame.time, 2) for frame in found] == [0.2, 0.7, 1.2, 1.7, 2.2, 2.7, 3.2, 3.7]
    for frame in found:
        assert frame.pixels.shape == (HEIGHT, WIDTH, 3)
        assert frame.pixels.dtype == np.uint8
        assert frame.pixels.flags.c_contiguous
        assert abs(number_of(frame.pixels) - frame.index) <= 2
        assert frame.pixels[2:8, 2:8].mean() > 225
    assert account.missing == ""
    assert account.frames == 40
    assert account.seconds == pytest.approx(4, abs=0.11)


def test_program_stream(tmp_path: Path) -> None:
    path = tmp_path / "clip.mpg"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(50):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(number), format="rgb24")))
        out.mux(stream.encode())
    found, account = read(path, Spread(5))
    assert [frame.index for frame in found] == [5, 15, 25, 35, 45]
    assert account.missing == ""


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_nothing(tmp_path: Path, threads: int) -> None:
    path = clip(tmp_path / "clip.mp4")
    np.testing.assert_array_equal(
        [f.pixels for f in frames(path, Spread(6))], [f.pixels for f in frames(path, Spread(6), threads=threads)]
    )


@pytest.mark.parametrize("size", [(16, 16), (62, 34), (130, 50)])
def test_sizes_that_no_register_likes(tmp_path: Path, size: tuple[int, int]) -> None:
    found, _ = read(clip(tmp_path / "clip.mkv", codec="ffv1", pixel_format="bgra", size=(size[0] - 1, size[1] - 1)))
    assert found[7].pixels.shape == (size[1] - 1, size[0] - 1, 3)
    np.testing.assert_array_equal(found[7].pixels, numbered(7, size[0] - 1, size[1] - 1))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270, -90])
def test_upright_by_the_display_matrix(tmp_path: Path, rotation: int) -> None:
    """``rotation`` is counter-clockwise, so the pixels must be those of `np.rot90`."""
    path = clip(tmp_path / "clip.mp4", rotation=rotation)
    expected = np.rot90(numbered(0), rotation // 90)
    info = open_video(path)
    assert (info.height, info.width) == expected.shape[:2]
    assert info.rotation == -rotation % 360
    pixels = next(frames(path, All())).pixels
    assert pixels.flags.c_contiguous
    assert np.abs(pixels.astype(int) - expected).mean() < 6


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize(
    ("aspect", "rotation"), [("2", None), ("64/45", None), ("8/9", None), ("2", 90), ("1/9", None)]
)
def test_pixels_that_are_not_square(tmp_path: Path, suffix: str, aspect: str, rotation: int | None) -> None:
    """The picture that a player shows is as wide as its display aspect ratio says, which ffmpeg computes; 1/9 is a mistake."""
    if rotation is not None and suffix != ".mp4":
        pytest.skip("only this container carries the turn")
    path = clip(tmp_path / f"clip{suffix}", count=12, aspect=Fraction(aspect), rotation=rotation)
    with av.open(str(path)) as file:
        shape = file.streams.video[0].display_aspect_ratio
    width = round(HEIGHT * shape) if Fraction(aspect) > Fraction(1, 4) else WIDTH
    expected = np.rot90(numbered(5, width, HEIGHT), (rotation or 0) // 90)
    found, _ = read(path)
    assert found[5].pixels.shape == expected.shape
    assert np.abs(found[5].pixels.astype(int) - expected).mean() < 4


def test_mirrored(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.set_display_matrix([-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30])
        for number in range(3):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(number), format="rgb24")))
        out.mux(stream.encode())
    assert open_video(path).orientation == 2
    pixels = next(frames(path, All())).pixels
    assert np.abs(pixels.astype(int) - numbered(0)[:, ::-1]).mean() < 6


def test_changing_size_on_the_way(tmp_path: Path) -> None:
    """Two recordings one after the other, as transport streams may be joined; the clock starts anew as well."""
    small = clip(tmp_path / "a.ts", count=20)
    large = clip(tmp_path / "b.ts", count=20, size=(96, 80))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(small.read_bytes() + large.read_bytes())
    found, account = read(joined, Spread(4))
    assert [f.pixels.shape[:2] for f in found] == [(48, 64)] * 2 + [(80, 96)] * 2
    assert np.abs(np.array([f.index for f in found]) - [5, 15, 25, 35]).max() <= 1
    assert account.frames >= 39, "FFmpeg marks the packet at the joint as corrupt"
    assert account.seconds == pytest.approx(4, abs=0.3)


def test_black_and_sound_beside(tmp_path: Path) -> None:
    found, account = read(clip(tmp_path / "clip.mp4", black=True, sound=True), Spread(3))
    assert [int(f.pixels.max()) for f in found] == [0, 0, 0]
    assert account.missing == ""


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_that_is_longer_is_nothing_missing(tmp_path: Path, suffix: str) -> None:
    _, account = read(clip(tmp_path / f"clip{suffix}", count=20, sound=True))
    assert account.missing == ""


def test_stopping_early_closes_the_file(tmp_path: Path) -> None:
    video: Frames = frames(clip(tmp_path / "clip.mp4"), All())
    frame = next(video)
    assert frame.index == 0
    assert frame.pixels.shape[1] == WIDTH
    video.close()
    assert list(video) == []
