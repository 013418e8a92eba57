"""The plot of a video's scores over time."""

from __future__ import annotations

from pathlib import Path

from facetell.detector.verdict import FaceVerdict, Verdict
from facetell.media.walk import DRAWN
from facetell.reporting.plots import FAINT, FAKE, INK, REAL, label_axes, new_figure, save_figure

__all__ = ["scores_over_time"]


def scores_over_time(verdict: Verdict, path: Path) -> None:
    """Draw one line for each track, a cross for each face that does not count, the threshold, and the time that decides."""
    figure = new_figure(3.4)
    axes = figure.add_subplot()
    said = f"{verdict.decision}, score {verdict.score:.2f}" if verdict.score is not None else verdict.status
    if verdict.corrected_for is not None and verdict.corrected_for > 1:
        said += f" (corrected for {verdict.corrected_for})"
    scored = all(face.score is not None for face in verdict.faces)
    value = "score (probability of fake)" if scored else "logit (higher = more fake)"
    label_axes(axes, f"{_shown(Path(verdict.path).name)}: {said}", "time in s", value)
    for track in verdict.tracks:
        faces = [face for face in verdict.faces if face.track == track.track]
        colour = {"fake": FAKE, "real": REAL}.get(track.decision or "", INK)
        times, values = _line(faces, scored)
        axes.plot(times, values, "o-", color=colour, markersize=4, linewidth=1.2)
        if len(verdict.tracks) > 1:
            axes.annotate(str(track.track), (times[-1], values[-1]), (5, 0), textcoords="offset points", color=colour)
    unused = [face for face in verdict.faces if not face.used]
    axes.plot(*_line(unused, scored), "x", color=FAINT, markersize=5)
    if verdict.threshold is not None:
        axes.axhline(verdict.threshold, color=INK, linewidth=1, linestyle="--")
        axes.annotate("fake from here on", (0, verdict.threshold), (2, 3), textcoords="offset points", fontsize=9)
    if verdict.window is not None:
        start, end = verdict.window
        axes.axvspan(start, end, color=FAINT, alpha=0.25, linewidth=0)
        axes.annotate(
            "decides", (start, 0.02), (2, 0), xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=9
        )
    if scored:
        axes.set_ylim(-0.03, 1.03)
    axes.set_xlim(0, max(verdict.seconds or 0, max((face.time or 0 for face in verdict.faces), default=0)) or 1)
    save_figure(figure, path, DRAWN)


def _line(faces: list[FaceVerdict], scored: bool) -> tuple[list[float], list[float]]:
    """Times (s) and scores, or logits where there are no scores."""
    values = [face.score if scored and face.score is not None else face.logit for face in faces]
    return [face.time or 0.0 for face in faces], values


def _shown(name: str) -> str:
    """As much of a file's name as a title can hold; what cannot be printed becomes a question mark."""
    return "".join(letter if letter.isprintable() else "?" for letter in name[:48])
