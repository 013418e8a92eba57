"""Numbers for Prometheus: requests, verdicts, what waits, what died."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from facetell.serving.drifting import Drifting
from facetell.serving.engine import Engine

if TYPE_CHECKING:
    from facetell.serving.recorder import Recorder
    from facetell.serving.shadow import Shadow

__all__ = ["Metrics"]

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Counts; what ``engine`` and ``kept`` say is asked for as it is read."""

    def __init__(
        self,
        engine: Engine,
        kept: Callable[[], int],
        recorder: Recorder | None,
        shadow: Shadow | None,
        drifting: Drifting,
    ) -> None:
        self._registry = CollectorRegistry()
        self._requests = Histogram(
            "facetell_request_seconds", "Time of requests", ("method", "route", "status"), buckets=_BUCKETS,
            registry=self._registry,
        )  # fmt: skip
        self._verdicts = Counter(
            "facetell_verdicts", "Files judged, by status and detector", ("status", "detector"), registry=self._registry
        )
        self._registry.register(_Asked(engine, kept, recorder, shadow))
        self._registry.register(_Tested(drifting))

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        known = method if method in ("GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH") else "other"
        self._requests.labels(known, route, str(status)).observe(seconds)

    def verdict(self, status: str, detector: str) -> None:
        """Count a verdict."""
        self._verdicts.labels(status, detector).inc()

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self._registry)


class _Asked(Collector):
    def __init__(
        self, engine: Engine, kept: Callable[[], int], recorder: Recorder | None, shadow: Shadow | None
    ) -> None:
        self._engine, self._kept, self._recorder, self._shadow = engine, kept, recorder, shadow

    def collect(self) -> Iterator[Metric]:
        pool = self._engine.current.pool
        yield GaugeMetricFamily("facetell_waiting_files", "Files that wait for a worker", pool.waiting)
        yield GaugeMetricFamily("facetell_busy_workers", "Workers at a file", pool.busy)
        yield GaugeMetricFamily("facetell_workers", "Workers", pool.workers)
        yield GaugeMetricFamily("facetell_kept_verdicts", "Verdicts that can be asked for again", self._kept())
        if self._recorder is not None:
            waiting = self._recorder.waiting
            alarm = self._recorder.alarm or 0.0
            yield GaugeMetricFamily(
                "facetell_alarm_timestamp_seconds", "When watch last saw something new; 0: never", alarm
            )
            yield GaugeMetricFamily("facetell_unwritten_verdicts", "Verdicts not yet in the store", waiting)
        if self._shadow is not None:
            beside = CounterMetricFamily(
                "facetell_shadow_files", "Files judged in shadow too, by outcome", labels=["outcome"]
            )
            for outcome, count in self._shadow.counts.items():
                beside.add_metric([outcome], count)
            yield beside
        yield CounterMetricFamily("facetell_worker_crashes", "Workers that died of a file", self._engine.crashes)
        reloads = CounterMetricFamily("facetell_reloads", "Reloads of the detector", labels=["outcome"])
        for outcome, count in self._engine.reloads.items():
            reloads.add_metric([outcome], count)
        yield reloads


class _Tested(Collector):
    """The test of `watch` on the last files: facetell_drift_p falls where they look like no mix of known reals and fakes."""

    def __init__(self, drifting: Drifting) -> None:
        self._drifting = drifting

    def collect(self) -> Iterator[Metric]:
        files, p, distance = (
            GaugeMetricFamily(name, said, labels=["kind"])
            for name, said in (
                ("facetell_drift_files", "Last files of this detector that are compared with its validation data"),
                ("facetell_drift_p", "How often known files differ as much, by chance"),
                ("facetell_drift_distance", "Share of the files that no mix of known ones explains (Kuiper)"),
            )
        )
        for kind, found in self._drifting.tests().items():
            files.add_metric([kind], found.n)
            p.add_metric([kind], found.p)
            distance.add_metric([kind], found.kuiper)
        yield from (files, p, distance)
