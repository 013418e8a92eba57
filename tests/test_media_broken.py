"""Broken, hostile and oversized videos: what is whole, an account of what is missing, or a reason."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import HEIGHT, WIDTH, av, clip, numbered, open_video, silence
from conftest import picture_bytes
from PIL import Image

from facetell.errors import MediaError
from facetell.media.frame import Account, Frame
from facetell.media.frame_choice import All, Choice, Spread
from facetell.media.frames import frames
from facetell.media.kind import kind_of, kind_of_bytes
from facetell.media.limits import Limits


def read(path: Path, choice: Choice | None = None, **options: Any) -> tuple[list[Frame], Account]:
    video = frames(path, choice or All(), **options)
    return list(video), video.account


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(MediaError) as caught:
        read(path, **options)
    with pytest.raises(MediaError) as also:
        open_video(path, options.get("limits"))
    assert also.value.reason == caught.value.reason
    return caught.value.reason


def test_fast_start_truncated_at_every_tenth(tmp_path: Path) -> None:
    whole = clip(tmp_path / "whole.mp4", options={"movflags": "faststart"}, noise=True).read_bytes()
    check_tenths(tmp_path, whole, readable=7)


def test_matroska_truncated_at_every_tenth(tmp_path: Path) -> None:
    check_tenths(tmp_path, clip(tmp_path / "whole.mkv", sound=True, noise=True).read_bytes(), readable=6)


def test_avi_truncated_at_every_tenth(tmp_path: Path) -> None:
    check_tenths(tmp_path, clip(tmp_path / "whole.avi", codec="mpeg4", noise=True).read_bytes(), readable=4)


def check_tenths(tmp_path: Path, whole: bytes, readable: int) -> None:
    path = tmp_path / "cut"
    reached = []
    for tenth in range(1, 10):
        path.write_bytes(whole[: len(whole) * tenth // 10])
        video = frames(path, Spread(4))
        try:
            found = list(video)
        except MediaError as error:
            assert error.reason == "unreadable", str(error)  # noqa: PT017
            continue
        account = video.account
        assert account.truncated or account.seconds > 3.5, f"{tenth}/10: {account}"
        if not account.truncated:  # within the slack
            continue
        assert "truncated: ends after" in account.missing
        assert account.declared is not None
        assert account.declared > 3.8
        assert account.seconds < 3.9
        moments = [(i + 0.5) / 4 * account.seconds for i in range(4)]
        if account.frames > 8:  # spread over what is there
            assert np.abs(np.array([f.time for f in found]) - moments).max() <= 0.21, f"{tenth}/10"
        reached.append(account.seconds)
    assert len(reached) >= readable
    assert reached == sorted(reached)


def test_mp4_with_its_index_at_the_end_cannot_be_read_once_cut(tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.mp4")
    path.write_bytes(path.read_bytes()[:-1200])
    assert refusal(path) == "unreadable"


def test_a_download_that_stopped_is_zeros_to_the_end(tmp_path: Path) -> None:
    """The packets are all there by the index, but the last ones cannot be decoded."""
    path = clip(tmp_path / "clip.mp4", options={"movflags": "faststart"}, count=60, noise=True)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10] + bytes(len(data) - len(data) * 6 // 10))
    _, account = read(path, Spread(6))
    assert account.truncated
    assert account.corrupt > 5
    assert 0.5 < account.seconds < 5.5


def test_a_hole_in_the_middle_is_stepped_over_and_counted(tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.mp4", options={"movflags": "faststart"}, count=60, noise=True)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(data)
    found, account = read(path, Spread(6))
    assert account.corrupt > 0
    assert "corrupt packet" in account.missing
    assert not account.truncated
    assert len(found) >= 4
    assert found[-1].index < 60


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts", ".webm"])
def test_flipped_bits_give_frames_or_a_reason(tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    codec = {".avi": "mpeg4", ".webm": "libvpx-vp9"}.get(suffix, "libx264")
    data = clip(tmp_path / f"clip{suffix}", count=20, codec=codec).read_bytes()
    path, rng = tmp_path / "broken", np.random.default_rng(2)
    for _ in range(40):
        broken = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            broken[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        with contextlib.suppress(MediaError):  # anything else fails the test
            found, account = read(path, Spread(5), limits=Limits(decode_seconds=20))
            assert account.given == len(found) <= account.frames
            assert all(frame.pixels.ndim == 3 for frame in found)
    assert capfd.readouterr() == ("", "")


def test_no_file_empty_file_folder_pipe(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.mp4") == "missing"
    (tmp_path / "empty.mp4").touch()
    assert refusal(tmp_path / "empty.mp4") == "empty"
    assert refusal(tmp_path) == "unsupported"
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.mp4")
        assert refusal(tmp_path / "pipe.mp4") == "unsupported"
    assert refusal(Path("a\0b")) == "unreadable"


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.mp4")
    odd = path.rename(tmp_path / "concat:a|b%03d\udcff.mp4")
    assert len(read(odd, Spread(3))[0]) == 3


def test_sound_only_and_a_song_with_its_cover(tmp_path: Path) -> None:
    path = tmp_path / "song.mkv"
    with av.open(str(path), "w") as out:
        tone = out.add_stream("aac", rate=8000, layout="mono")
        out.mux(tone.encode(silence()))
        out.mux(tone.encode())
    with pytest.raises(MediaError, match="no video in it, only audio") as caught:
        open_video(path)
    assert caught.value.reason == "unsupported"
    cover = tmp_path / "cover.mp4"
    with av.open(str(cover), "w") as out:
        tone = out.add_stream("aac", rate=8000, layout="mono")
        art = out.add_stream("mjpeg", rate=1)
        art.width, art.height, art.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        art.disposition = av.stream.Disposition.attached_pic
        out.mux(art.encode(av.VideoFrame.from_ndarray(numbered(1), format="rgb24")))
        out.mux(art.encode())
        out.mux(tone.encode(silence()))
        out.mux(tone.encode())
    with pytest.raises(MediaError, match="only a cover picture"):
        list(frames(cover, All()))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"hello world, no media", None),
        (b"RIFF\0\0\0\0WAVEfmt ", None),
        (b"#EXTM3U\nhttp://example.org/a.ts", None),
        (b"ffconcat version 1.0\nfile a.mp4", None),
        (b"BMW is a car and no bitmap", None),
        (b"\0\0\0\x18ftypcrx ", "picture"),
        (b"\0\0\0\x18ftypheic", "picture"),
        (b"\0\0\0\x18ftypavif", "picture"),
        (b"\0\0\0\x18ftypisom", "video"),
        (b"\0\0\0\x08wide\0\0", "video"),
        (b"\x1a\x45\xdf\xa3", "video"),
        ((b"G" + bytes(187)) * 3, "video"),
        ((bytes(4) + b"G" + bytes(187)) * 3, "video"),
        (b"G" * 50, None),
        (b"", None),
    ],
)
def test_kind_by_first_bytes(tmp_path: Path, data: bytes, kind: str | None) -> None:
    assert kind_of_bytes(data) == kind
    if data:
        (tmp_path / "file").write_bytes(data)
        assert kind_of(tmp_path / "file") == kind
        assert refusal(tmp_path / "file") == ("unreadable" if kind == "video" else "unsupported")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF"])
def test_pictures_are_pictures(kind: str) -> None:
    assert kind_of_bytes(picture_bytes(kind=kind)[:1024]) == "picture"


def test_playlists_open_nothing(tmp_path: Path) -> None:
    """Dressed up as a transport stream, a playlist still may not make FFmpeg open another file."""
    clip(tmp_path / "secret.ts")
    text = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nsecret.ts\n#EXT-X-ENDLIST\n"
    path = tmp_path / "list.ts"
    path.write_bytes(text)
    assert refusal(path) == "unsupported"


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(max_bytes=1000), "too_large"),
        (Limits(max_pixels=WIDTH * HEIGHT - 1), "too_large"),
        (Limits(max_seconds=3.9), "too_long"),
        (Limits(max_frames=39), "too_long"),
        (Limits(decode_seconds=-1), "timeout"),
    ],
)
def test_limits(tmp_path: Path, limits: Limits, reason: str) -> None:
    assert refusal(clip(tmp_path / "clip.mp4"), limits=limits) == reason


def test_limits_hold_where_nothing_is_declared(tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.mkv", options={"live": "1"})
    info = open_video(path)
    assert (info.duration, info.frames) == (None, None)
    for limits in (Limits(max_frames=39), Limits(max_seconds=3.9)):
        with pytest.raises(MediaError) as caught:
            read(path, limits=limits)
        assert caught.value.reason == "too_long"
    found, account = read(path, Spread(4), limits=Limits(max_seconds=4.1, max_frames=40))
    assert [f.index for f in found] == [5, 15, 25, 35]
    assert (account.declared, account.missing) == (None, "")


def test_a_later_frame_may_not_be_larger_than_the_limit(tmp_path: Path) -> None:
    small, large = clip(tmp_path / "a.ts", count=20), clip(tmp_path / "b.ts", count=20, size=(960, 800))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(small.read_bytes() + large.read_bytes())
    found, account = read(joined, limits=Limits(max_pixels=WIDTH * HEIGHT * 2))
    assert {f.pixels.shape for f in found} == {(HEIGHT, WIDTH, 3)}
    assert account.missing


def test_the_caller_s_time_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("facetell.media.container.time.monotonic", lambda: now[0])
    video = frames(clip(tmp_path / "clip.mp4"), All(), Limits(decode_seconds=5))
    for _ in video:
        now[0] += 60
    assert video.account.given == 40


def test_a_file_in_which_ffmpeg_goes_round_for_ever(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    photo = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    heif = pytest.importorskip("pillow_heif").from_pillow(Image.fromarray(noise))
    heif.save(photo, quality=90)
    file = clip(tmp_path / "a.mov")
    file.write_bytes(file.read_bytes() + photo.getvalue())
    assert refusal(file) == "unreadable"
    assert capfd.readouterr().err == ""


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = clip(tmp_path / "clip.mp4", options={"movflags": "faststart"}, noise=True).read_bytes()
    capfd.readouterr()
    (tmp_path / "clip.mp4").write_bytes(data[: len(data) // 2] + bytes(len(data) // 2))
    read(tmp_path / "clip.mp4")
    with contextlib.suppress(MediaError):
        (tmp_path / "clip.mp4").write_bytes(data[:300] + io.BytesIO(bytes(900)).read())
        read(tmp_path / "clip.mp4")
    assert capfd.readouterr() == ("", "")
