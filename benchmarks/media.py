"""From photos and videos to faces: ``python benchmarks/media.py [--part workers|parts|clip|memory] [--clip FILE]``.

``workers``: photos per second with two workers against one, while both are under way; starting them is told apart.
``parts``: seconds a photo and a clip cost with one worker, against their bare parts alone in one process: decoding by
torchvision or PyAV, the face detector, cutting and encoding. ``clip``: one clip of 10 s, 720p, 32 frames: judging it in
a process that has everything loaded (two threads), and the whole ``facetell detect`` from a cold start. ``memory``:
peak of the worker for a clip of 10 s and for one of 30 minutes.

Photos and clips are made here, with one real face (``skimage.data.astronaut``) on a noisy ground. What is compared
takes turns; ratios are medians of rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from facetell.progress import Step

Rows = Iterator[tuple[str, dict[str, float]]]


def scene(width: int, height: int, seed: int, shift: float = 0.0) -> Any:
    """uint8 (height, width, 3): the astronaut's upper body, most of the height, moved by ``shift`` of the width."""
    import numpy as np
    from PIL import Image
    from skimage.data import astronaut

    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 200, (12, 16, 3), dtype=np.uint8)
    ground = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    side = round(height * (0.6 + 0.3 * rng.random()))
    left = (width - side) / 2 + shift * width
    ground.paste(Image.fromarray(astronaut()).resize((side, side)), (round(left), height - side))
    grain = rng.normal(0, 3, (height, width, 1))
    return np.clip(np.asarray(ground) + grain, 0, 255).astype(np.uint8)


def write_photos(folder: Path, count: int) -> Path:
    """``count`` JPEG photos of 640 to 1280 pixels and an index; half of them called fake."""
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True)
    with (folder / "index.csv").open("w") as index:
        index.write("path,label,group\n")
        for i in range(count):
            width = int(np.random.default_rng(i).integers(640, 1281))
            Image.fromarray(scene(width, width * 3 // 4, i)).save(folder / f"{i}.jpg", quality=92)
            index.write(f"{i}.jpg,{('real', 'fake')[i % 2]},{i}\n")
    return folder


def write_clip(path: Path, width: int, height: int, times: int = 1) -> Path:
    """A clip of ``times`` 10 s at 30 frames a second, H.264; packets are encoded once and repeated."""
    import av

    first = path.with_name(f"once-{width}.mp4")
    if not first.exists():
        with av.open(str(first), "w") as out:
            stream: Any = out.add_stream("libx264", rate=30, options={"preset": "veryfast", "crf": "23"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for i in range(300):
                pixels = scene(width, height, 0, shift=0.1 * (i / 150 - 1))
                out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            out.mux(stream.encode(None))
    with av.open(str(path), "w") as out:
        copy: Any = None
        for turn in range(times):
            with av.open(str(first)) as source:
                stream = source.streams.video[0]
                copy = copy or out.add_stream_from_template(stream)
                length = round(10 / stream.time_base)
                for packet in source.demux(stream):
                    if packet.dts is not None and packet.pts is not None:
                        packet.pts, packet.dts = packet.pts + turn * length, packet.dts + turn * length
                        packet.stream = copy
                        out.mux(packet)
    return path


def write_detector(folder: Path) -> Path:
    """A detector of the usual network, hardly trained: its verdicts mean nothing, what they cost is the same."""
    import facetell
    from facetell.drawn.folder import write_drawn_faces

    pictures = write_drawn_faces(folder / "drawn", people=40, seed=0, size=64)
    settings = {"pretrained": "none", "epochs": 1}
    facetell.fit(
        "fdftnet", facetell.prepare(pictures, folder / "drawn-faces").path, folder / "detector", settings=settings
    )
    return folder / "detector"


def plan_of(source: Path, frames: str = "32") -> Any:
    from facetell.ingest.extract import Extraction, Plan
    from facetell.ingest.sources import find_rows
    from facetell.media.frame_choice import parse

    return Plan(find_rows(source), Extraction(frames=parse(frames)))


_RUNS = itertools.count()


def family() -> dict[int, Path]:
    """This process and all below it: folders in /proc by number. Workers are children of a server that is ours."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    found = {os.getpid()}
    for _ in range(4):
        found |= {pid for pid, parent in parents.items() if parent in found}
    return {pid: Path("/proc", str(pid)) for pid in found}


def busy() -> float:
    """Seconds of processor time of this process and those below it."""
    ticks = 0
    for folder in family().values():
        with contextlib.suppress(OSError):
            ticks += sum(map(int, (folder / "stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def peaks() -> tuple[float, float]:
    """Peak resident memory in MiB of this process, and of the largest below it."""
    values = {}
    for pid, folder in family().items():
        with contextlib.suppress(OSError):
            peak = re.search(r"VmHWM:\s+(\d+) kB", (folder / "status").read_text())
            values[pid] = int(peak[1]) / 1024 if peak else 0.0
    own = values.pop(os.getpid())
    return own, max(values.values(), default=0.0)


def extracting(source: Path, folder: Path, workers: int, skip: int) -> tuple[float, float, float]:
    """Seconds until ``skip`` files were done, starting the workers included; then seconds a file, and processor time."""
    from facetell.ingest.extract import extract

    plan = plan_of(source)
    stamps = [(time.perf_counter(), 0.0)]

    def note(step: Step) -> None:
        stamps.append((time.perf_counter(), busy() if step.done in (skip, step.total) else 0.0))

    extract(plan, folder / f"run-{next(_RUNS)}", workers=workers, progress=note)
    (began, _), _, *files = stamps  # the first call tells that nothing is done yet
    (ready, before), (end, after), count = files[skip - 1], files[-1], len(files) - skip
    return ready - began, (end - ready) / count, (after - before) / count


def workers(folder: Path, _clip: Path | None, count: int = 300, rounds: int = 3) -> Rows:
    """Photos a second with two workers and with one."""
    photos = write_photos(folder / "photos", count)
    each: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    starts = []
    for _ in range(rounds):
        for number, measured in each.items():
            ready, wall, processor = extracting(photos, folder, number, 20)
            starts.append(ready - 20 * wall)
            measured.append((wall, processor))
    ratio = statistics.median(one[0] / two[0] for one, two in zip(each[1], each[2], strict=True))
    yield (
        f"{count} photos",
        {
            **{f"photos/s, workers: {n}": 1 / statistics.median(wall for wall, _ in each[n]) for n in each},
            "ratio": ratio,
            **{
                f"processor ms a photo, workers: {n}": 1000 * statistics.median(cpu for _, cpu in each[n]) for n in each
            },
            "first start s": starts[0],
            "later starts s": statistics.median(starts[1:]),
        },
    )


def parts(folder: Path, clip: Path | None, rounds: int = 5) -> Rows:
    """Seconds a file: the pipeline with one worker, and the bare parts in this process."""
    photos = write_photos(folder / "photos", 60)
    clips = folder / "clips"
    clips.mkdir()
    clip = clip or write_clip(folder / "clip.mp4", 1280, 720)
    with (clips / "index.csv").open("w") as index:
        index.write("path,label,group\n")
        for i in range(4):
            (clips / f"{i}.mp4").symlink_to(clip.resolve())
            index.write(f"{i}.mp4,real,{i}\n")
    for name, source, skip, bare in (("a photo", photos, 10, bare_photo), ("a clip, 32 frames", clips, 1, bare_clip)):
        files = sorted(source.glob("*.jpg")) or sorted(source.glob("*.mp4"))
        files = files[skip:]
        alone, whole = [], []
        bare(files[0])
        for _ in range(rounds):
            processor = time.process_time()
            each = [bare(file) for file in files]
            processor = (time.process_time() - processor) / len(files)
            alone.append((*(statistics.fmean(part) for part in zip(*each, strict=True)), processor))
            whole.append(extracting(source, folder, 1, skip)[1:])
        decode, detect, cut, processor = (1000 * statistics.median(part) for part in zip(*alone, strict=True))
        pairs = list(zip(whole, alone, strict=True))
        yield name, {
            "ms decode": decode, "ms detect": detect, "ms cut": cut,
            "ms pipeline": 1000 * statistics.median(wall for wall, _ in whole),
            "ratio to the sum": statistics.median(wall / sum(parts[:3]) for (wall, _), parts in pairs),
            "processor ms of the parts": processor,
            "processor ms of the pipeline": 1000 * statistics.median(cpu for _, cpu in whole),
            "ratio of processor time": statistics.median(cpu / parts[3] for (_, cpu), parts in pairs),
        }  # fmt: skip


def bare_photo(file: Path) -> tuple[float, float, float]:
    """Seconds to decode, to detect, and to cut and encode."""
    import numpy as np
    import torch
    from torchvision.io import decode_jpeg

    began = time.perf_counter()
    data = torch.from_numpy(np.fromfile(file, np.uint8))
    pixels = np.ascontiguousarray(decode_jpeg(data).permute(1, 2, 0).numpy())
    decoded = time.perf_counter() - began
    return (decoded, *bare_faces([pixels]))


def bare_clip(file: Path) -> tuple[float, float, float]:
    """The same for a clip: every frame decoded once, those of 32 moments converted."""
    import av

    began = time.perf_counter()
    pixels = []
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        wanted = {int((i + 0.5) / 32 * stream.frames) for i in range(32)}
        for number, frame in enumerate(container.decode(stream)):
            if number in wanted:
                pixels.append(frame.to_ndarray(format="rgb24"))
    decoded = time.perf_counter() - began
    return (decoded, *bare_faces(pixels))


_DETECTORS: list[Any] = []


def bare_faces(pictures: list[Any]) -> tuple[float, float]:
    """Seconds to detect, and to cut and encode."""
    from facetell.faces.crop import CropGeometry, crop
    from facetell.faces.load import load_face_detector
    from facetell.pixels.encode import encode

    _DETECTORS or _DETECTORS.append(load_face_detector())
    began = time.perf_counter()
    found = [(pixels, _DETECTORS[0].detect(pixels)) for pixels in pictures]
    detected = time.perf_counter()
    for pixels, faces in found:
        for face in faces:
            if face.score >= 0.5:
                encode(crop(pixels, face, CropGeometry(size=512)))
    return detected - began, time.perf_counter() - detected


JUDGED = """
import json, statistics, sys, time
began = time.perf_counter()
from pathlib import Path
import torch
from facetell.media.frame_choice import Spread
from facetell.media.limits import Limits
from facetell.media.frames import frames
from facetell.detector.detector import Detector
from facetell.detector.judge import Judge
imported, imported_busy = time.perf_counter() - began, time.process_time()
torch.set_num_threads(2)
judge = Judge(Detector.load(sys.argv[1]), threads=2)
clip = Path(sys.argv[2])
verdict = judge.file(clip)
times = {"whole": [], "decoding": [], "finding, one thread": [], "scoring": []}
busy = []
def took(name, work):
    start = time.perf_counter()
    result = work()
    times[name].append(time.perf_counter() - start)
    return result
for _ in range(int(sys.argv[3])):
    before = time.process_time()
    took("whole", lambda: judge.file(clip))
    busy.append(time.process_time() - before)
    shots = took("decoding", lambda: list(frames(clip, Spread(32), Limits(), threads=2)))
    found = took("finding, one thread", lambda: [judge.finder.look(shot.pixels) for shot in shots])
    import numpy as np
    from facetell.pixels.decode import resize
    crops = np.stack([resize(face.crop, judge.detector.size) for faces in found for face in faces])
    took("scoring", lambda: judge.detector.logits(crops))
medians = {name: statistics.median(values) for name, values in times.items()}
numbers = {"job s": medians.pop("whole"), **{f"{name} s": value for name, value in medians.items()}}
numbers |= {"processor s of the job": statistics.median(busy), "imports s": imported}
numbers |= {"processor s of the imports": imported_busy, "frames": verdict.frames, "faces": len(verdict.faces)}
print(json.dumps(numbers))
"""


COMMAND = "from facetell.cli.main import main; main()"


def clip(folder: Path, clip: Path | None, rounds: int = 5) -> Rows:
    """Seconds to judge one clip in a process that is warm, and by the command from a cold start."""
    detector = write_detector(folder)
    file = clip or write_clip(folder / "clip.mp4", 1280, 720)
    cold = []
    for _ in range(rounds):
        began = time.perf_counter()
        command = [sys.executable, "-c", COMMAND, "detect", str(detector), str(file)]
        subprocess.run(command, check=True, capture_output=True)
        cold.append(time.perf_counter() - began)
    numbers = json.loads(python(JUDGED, str(detector), str(file), str(rounds)))
    yield "10 s, 720p, 32 frames" if clip is None else clip.name, {**numbers, "cold command s": statistics.median(cold)}


MEASURED = """
import sys
from pathlib import Path
action, source, detector, frames, out, here = sys.argv[1:]
sys.path.insert(0, here)

if __name__ == "__main__":
    from media import peaks
    seen = []
    if action == "prepare":
        from facetell.ingest.extract import Extraction, Plan, extract
        from facetell.media.frame_choice import parse
        from facetell.ingest.sources import find_rows
        plan = Plan(find_rows(Path(source)), Extraction(frames=parse(frames)))
        extract(plan, Path(out), workers=1, progress=lambda _: seen.append(peaks()))
        seen.append((peaks()[0], 0.0))
    else:
        import facetell
        for verdict in facetell.detect(detector, sorted(Path(source).glob("*.mp4")), frames=frames, workers=1):
            assert verdict.judged, verdict.reason  # on a machine too busy, all frames may take longer than a file is given
            seen.append(peaks())
    print(max(own for own, _ in seen), max(worker for _, worker in seen))
"""


def memory(folder: Path, _clip: Path | None) -> Rows:
    """Peak resident memory in MiB of the worker, and of its parent: a short clip, and one many times as long."""
    detector = write_detector(folder)

    def measure(action: str, frames: str, times: int) -> list[float]:
        source = folder / f"{times}"
        if not source.exists():
            source.mkdir()
            write_clip(folder / "clip.mp4", 640, 360, times).rename(source / "clip.mp4")
            (source / "index.csv").write_text("path,label,group\nclip.mp4,real,0\n")
        arguments = (action, str(source), str(detector), frames, str(folder / f"run-{next(_RUNS)}"))
        return [float(value) for value in python(MEASURED, *arguments, str(Path(__file__).parent)).split()]

    # All frames of half an hour would take hours: a minute of them is as many as half an hour has seconds.
    for frames, times in (("32", 180), ("1s", 180), ("all", 6)):
        for action in ("prepare", "detect"):
            (parent, short), (parent_long, long) = (measure(action, frames, n) for n in (1, times))
            yield f"{action} --frames {frames}, 10 s to {times * 10:,} s", {
                "MiB": short, "MiB, longer": long, "ratio": long / short, "ratio of the parent": parent_long / parent,
            }  # fmt: skip


def python(code: str, *arguments: str) -> str:
    """The last line that ``code`` prints in a process of its own; a file, since workers must be able to import it."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "measured.py")
        script.write_text(code)
        done = subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout.splitlines()[-1]


PARTS: dict[str, Callable[[Path, Path | None], Rows]] = {
    "workers": workers, "parts": parts, "clip": clip, "memory": memory,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append", help="this part only; may be repeated")
    parser.add_argument("--clip", type=Path, help="a clip to take instead of the one made here (parts, clip)")
    arguments = parser.parse_args()
    print("| part | of | what | |\n| --- | --- | --- | --- |")
    for part in arguments.part or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["FACETELL_CACHE"] = str(Path(folder) / "cache")
            for name, numbers in PARTS[part](Path(folder), arguments.clip):
                for what, value in numbers.items():
                    print(f"| {part} | {name} | {what} | {value:,.2f} |", flush=True)


if __name__ == "__main__":
    main()
