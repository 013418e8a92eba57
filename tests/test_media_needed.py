"""Frames that need no decoding are passed over, and the chosen ones are the same to the pixel."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from clips import av

from facetell.errors import MediaError
from facetell.media.frame import Frame
from facetell.media.frame_choice import All, Choice, Every, Spread
from facetell.media.frames import frames

COUNT, RATE = 90, 10
KINDS = {  # suffix, encoder, its options
    "h264": ("mp4", "libx264", {"x264-params": "keyint=15:bframes=3"}),
    "h264, leading frames": ("mkv", "libx264", {"x264-params": "keyint=12:bframes=3:open-gop=1:scenecut=0"}),
    "h264, no key frame after the first": ("ts", "libx264", {"x264-params": "keyint=20:intra-refresh=1:bframes=0"}),
    "h264, slices and threads": ("mp4", "libx264", {"x264-params": "keyint=250:b-pyramid=strict:slices=4"}),
    "hevc, leading frames": ("mp4", "libx265", {"x265-params": "keyint=10:open-gop=1:bframes=4:log-level=none"}),
    "hevc, temporal layers": ("mkv", "libx265", {"x265-params": "keyint=20:temporal-layers=3:log-level=none"}),
    "vp8": ("webm", "libvpx", {"g": "12", "deadline": "realtime", "cpu-used": "8"}),
    "vp9": ("webm", "libvpx-vp9", {"g": "12", "deadline": "realtime", "cpu-used": "8"}),
    "av1": ("mp4", "libsvtav1", {"g": "16", "preset": "12"}),
    "mpeg4": ("mp4", "mpeg4", {"g": "12", "bf": "2"}),
    "mjpeg": ("mov", "mjpeg", {}),
}


def written(path: Path, encoder: str, options: dict[str, str], count: int = COUNT, side: int = 64) -> Path:
    """A clip whose every frame depends on the ones before: a texture that drifts, and noise."""
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 256, (side, 2 * side, 3), dtype=np.uint8)
    with av.open(str(path), "w") as out:
        try:
            stream = out.add_stream(encoder, rate=RATE, options=options)
        except (av.error.FFmpegError, ValueError):
            pytest.skip(f"this FFmpeg cannot write {encoder}")
        stream.width, stream.height = side, side
        stream.pix_fmt = "yuvj420p" if encoder == "mjpeg" else "yuv420p"
        for number in range(count):
            pixels = np.roll(texture, number, axis=1)[:, :side].copy()
            pixels[:8] = rng.integers(0, 256, (8, side, 3))
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def same(one: Frame, other: Frame) -> bool:
    return (one.index, one.time) == (other.index, other.time) and np.array_equal(one.pixels, other.pixels)


def shown_at(moments: list[float], everything: list[Frame]) -> list[Frame]:
    """The slow truth: the frame on screen at each moment, once each."""
    numbers = sorted({max(i for i, one in enumerate(everything) if one.time <= moment + 1e-9) for moment in moments})
    return [everything[number] for number in numbers]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_the_chosen_frames_are_those_of_a_decoder_that_skips_nothing(tmp_path: Path, kind: str, threads: int) -> None:
    suffix, encoder, options = KINDS[kind]
    path = written(tmp_path / f"clip.{suffix}", encoder, options)
    everything = list(frames(path, All()))
    assert len(everything) >= COUNT - 1
    length = COUNT / RATE
    choices: list[tuple[Choice, list[float]]] = [
        (Spread(count), [(i + 0.5) * length / count for i in range(count)]) for count in (1, 2, 5, 40)
    ]
    choices.append((Every(Fraction(7, 10)), [0.7 * i for i in range(13)]))
    for choice, moments in choices:
        video = frames(path, choice, threads=threads)
        found, expected = list(video), shown_at(moments, everything)
        assert len(found) == len(expected), choice
        assert all(map(same, found, expected)), choice
        assert (video.account.frames, video.account.missing) == (len(everything), ""), choice


@pytest.mark.slow
def test_few_frames_of_a_long_video_cost_a_small_part_of_it(tmp_path: Path) -> None:
    """Not a speed to hold, but the kind: 4 of 3,000 frames in 200 groups; decoding all takes some 20 times as long."""
    path = written(tmp_path / "long.mp4", "libx264", {"x264-params": "keyint=15", "preset": "ultrafast"}, 3000, 256)

    def seconds(choice: Choice) -> float:
        began = time.process_time()
        for _ in frames(path, choice):
            pass
        return time.process_time() - began

    assert seconds(Spread(4)) < seconds(All()) / 3


def damaged(path: Path, at: float, length: int = 400) -> Path:
    data = bytearray(path.read_bytes())
    begin = int(at * len(data))
    data[begin : begin + length] = bytes(length)
    out = path.with_stem(f"{path.stem}-{at}")
    out.write_bytes(data)
    return out


@pytest.mark.parametrize("at", [0.1, 0.35, 0.6, 0.9])
def test_damage_within_costs_no_chosen_moment_that_can_be_shown(tmp_path: Path, at: float) -> None:
    path = damaged(written(tmp_path / "clip.mp4", "libx264", {"x264-params": "keyint=10:bframes=2"}), at)
    try:
        everything = list(frames(path, All()))
    except MediaError:
        pytest.skip("nothing of it can be decoded")
    found = list(frames(path, Spread(9)))
    assert len(found) >= min(9, len(everything)) - 1
    assert [one.time for one in found] == sorted({one.time for one in found})


def test_a_file_that_calls_every_frame_a_key_frame_is_not_believed(tmp_path: Path) -> None:
    """Seen of recorders: each may be jumped to, says the file, and none but the first can be decoded alone."""
    path = written(tmp_path / "clip.mkv", "libx264", {"x264-params": "keyint=250"})
    liar = tmp_path / "liar.mkv"
    with av.open(str(path)) as source, av.open(str(liar), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream, packet.is_keyframe = stream, True
                out.mux(packet)
    found = list(frames(liar, Spread(3)))
    assert all(map(same, found, shown_at([1.5, 4.5, 7.5], list(frames(path, All())))))
