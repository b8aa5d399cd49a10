"""Which numbers of the service Prometheus scrapes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from posterion.observability.families import Family

METRICS_MEDIA_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4

_SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_FORCE_STD: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_STRUCTURES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class ServedModel(NamedTuple):
    """One version being served, as its metric says it.

    Attributes:
        name: Bank name.
        version: Short version.
        digest: Whole digest.
    """

    name: str
    version: str
    digest: str


class ServiceMetrics:
    """The service's metrics in a registry of their own.

    Nothing is global: two applications in one process count apart. Other layers add their
    metrics to ``registry``, and one scrape shows them all.

    Attributes:
        registry: Where all metrics are registered.
    """

    def __init__(self) -> None:
        """Register every metric at zero."""
        self.registry = CollectorRegistry()
        self._requests = self._counter(
            "posterion_requests",
            "Requests answered, by route template, problem code, and model.",
            ("route", "status", "code", "model", "version"),
        )
        self._request_seconds = self._histogram(
            "request_seconds", "Time from arrival to the last byte of the reply.", _SECONDS, "route"
        )
        self._queue_seconds = self._histogram(
            "queue_seconds", "Time a request's structures waited for the device.", _SECONDS, "model"
        )
        self._graph_seconds = self._histogram(
            "graph_seconds", "Time spent finding neighbours.", _SECONDS, "model"
        )
        self._evaluate_seconds = self._histogram(
            "evaluate_seconds", "Time on the device.", _SECONDS, "model"
        )
        self._structures = self._histogram(
            "request_structures", "Structures per predict request.", _STRUCTURES, "model"
        )
        self._force_std = self._histogram(
            "uncertainty_force_std",
            "Largest per-atom epistemic standard deviation of a structure, eV/Angstrom.",
            _FORCE_STD,
            "model",
        )
        self._item_errors = self._counter(
            "posterion_item_errors",
            "Structures answered with an error of their own.",
            ("model", "code"),
        )
        self._flagged = self._counter(
            "posterion_flagged",
            "Flags raised.",
            ("model", "code", "severity"),
        )
        self._atom_samples = self._counter(
            "posterion_atom_samples",
            "Atoms times posterior samples evaluated.",
            ("model",),
        )
        self._rejected = self._counter(
            "posterion_rejected",
            "Requests refused, by reason.",
            ("reason",),
        )
        self._inflight = Gauge(
            "posterion_inflight", "Requests being answered.", registry=self.registry
        )
        self._ready = Gauge("posterion_ready", "1 while predictions work.", registry=self.registry)
        self._model_info = Gauge(
            "posterion_model_info",
            "1 for each version being served.",
            ("model", "version", "digest"),
            registry=self.registry,
        )

    def _counter(self, name: str, documentation: str, labels: tuple[str, ...]) -> Family[Counter]:
        return Family(Counter(name, documentation, labels, registry=self.registry))

    def _histogram(
        self, name: str, documentation: str, buckets: Sequence[float], label: str
    ) -> Family[Histogram]:
        return Family(
            Histogram(
                f"posterion_{name}",
                documentation,
                (label,),
                buckets=buckets,
                registry=self.registry,
            )
        )

    @contextmanager
    def track_inflight(self) -> Iterator[None]:
        """Count a request as being answered inside the ``with`` block."""
        self._inflight.inc()
        try:
            yield
        finally:
            self._inflight.dec()

    def observe_request(
        self, *, route: str, status: int, code: str, model: str, version: str, seconds: float
    ) -> None:
        """Count one answered request.

        Args:
            route: Template of the route, never the path itself.
            status: HTTP status.
            code: Problem code, or ``ok``.
            model: Name of a model that exists, or empty.
            version: Version that answered, or empty.
            seconds: From arrival to the last byte.
        """
        self._requests.labels(route, str(status), code, model, version).inc()
        self._request_seconds.labels(route).observe(seconds)
        if status >= 400:
            self._rejected.labels(code).inc()

    def observe_prediction(
        self, *, model: str, n_structures: int, n_atom_samples: int, phases_s: "PhaseSeconds"
    ) -> None:
        """Count one answered predict request.

        Args:
            model: Name of the model.
            n_structures: Structures in the request.
            n_atom_samples: Atoms times posterior samples evaluated.
            phases_s: Where the time went.
        """
        self._structures.labels(model).observe(n_structures)
        self._atom_samples.labels(model).inc(n_atom_samples)
        self._queue_seconds.labels(model).observe(phases_s.queue)
        self._graph_seconds.labels(model).observe(phases_s.graph)
        self._evaluate_seconds.labels(model).observe(phases_s.evaluate)

    def observe_force_std(self, *, model: str, value: float) -> None:
        """Record how uncertain one structure's forces are.

        Args:
            model: Name of the model.
            value: Largest per-atom epistemic standard deviation, eV/Angstrom.
        """
        self._force_std.labels(model).observe(value)

    def count_flag(self, *, model: str, code: str, severity: str) -> None:
        """Count one raised flag."""
        self._flagged.labels(model, code, severity).inc()

    def count_item_error(self, *, model: str, code: str) -> None:
        """Count one structure that was answered with an error of its own."""
        self._item_errors.labels(model, code).inc()

    def render(self, *, served: Sequence[ServedModel], ready: bool) -> bytes:
        """Write all metrics in Prometheus' text format.

        Args:
            served: Versions served now.
            ready: Whether predictions work now.

        Returns:
            The body of a scrape, of `METRICS_MEDIA_TYPE`.
        """
        self._ready.set(1 if ready else 0)
        self._model_info.clear()
        for model in served:
            self._model_info.labels(*model).set(1)
        return generate_latest(self.registry)


class PhaseSeconds(NamedTuple):
    """Where the time of one predict request went, in seconds.

    Attributes:
        queue: Waiting for the device.
        graph: Finding neighbours.
        evaluate: On the device.
    """

    queue: float
    graph: float
    evaluate: float
