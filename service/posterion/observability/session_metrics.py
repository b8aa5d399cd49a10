"""Which numbers of the sessions Prometheus scrapes."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

from posterion.observability.families import Family


class SessionMetrics:
    """Counts sessions and their steps; one per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register every metric at zero.

        Args:
            registry: Where all metrics of the service are.
        """
        self._active = Gauge("posterion_sessions_active", "Open sessions.", registry=registry)
        self._ended = Counter(
            "posterion_sessions", "Sessions that ended, by reason.", ("code",), registry=registry
        )
        self._steps = Family(
            Counter(
                "posterion_session_steps",
                "Steps answered, by problem code.",
                ("model", "code"),
                registry=registry,
            )
        )
        self._rebuilds = Counter(
            "posterion_neighbor_rebuilds",
            "Neighbour lists of images made anew.",
            ("model",),
            registry=registry,
        )

    def watch(self, n_active: Callable[[], int]) -> None:
        """Read the number of open sessions whenever the metrics are scraped."""
        self._active.set_function(n_active)

    def count_end(self, code: str) -> None:
        """Count a session that ended."""
        self._ended.labels(code).inc()

    def count_step(self, model: str, code: str, n_rebuilds: int) -> None:
        """Count a step.

        Args:
            model: Name of the model.
            code: Problem code, or ``ok``.
            n_rebuilds: Images whose neighbours were listed anew.
        """
        self._steps.labels(model, code).inc()
        if n_rebuilds:
            self._rebuilds.labels(model).inc(n_rebuilds)
