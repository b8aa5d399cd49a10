"""Which numbers of the batcher and the roll-out Prometheus scrapes."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from posterion.serving.work import BatchRecord

_STRUCTURES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_RATIO: Final = (0.1, 0.2, 0.5, 0.8, 1.25, 2.0, 5.0, 10.0)
_FILL: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)


class BatchMetrics:
    """Counts batches; one per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register every metric at zero.

        Args:
            registry: Where all metrics of the service are.
        """
        self._registry = registry
        self._structures = Histogram(
            "posterion_batch_structures",
            "Structures per batch.",
            buckets=_STRUCTURES,
            registry=registry,
        )
        self._seconds = Histogram(
            "posterion_batch_seconds",
            "Time of a batch on the device.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._fill = Histogram(
            "posterion_batch_fill_ratio",
            "Edges or predicted time of a batch over its bound, whichever is fuller.",
            buckets=_FILL,
            registry=registry,
        )
        self._ratio = Histogram(
            "posterion_batch_time_ratio",
            "Time of a batch over the time that was predicted.",
            buckets=_RATIO,
            registry=registry,
        )
        self._edges = Counter(
            "posterion_batch_edge_samples", "Edges times samples evaluated.", registry=registry
        )
        self._splits = Counter(
            "posterion_split", "Batches halved to isolate a failure.", registry=registry
        )
        self._out_of_memory = Counter(
            "posterion_oom", "Batches that did not fit the device.", registry=registry
        )

    def observe(self, record: BatchRecord) -> None:
        """Count one batch."""
        self._structures.observe(record.n_structures)
        self._seconds.observe(record.evaluate_s)
        self._fill.observe(record.fill)
        self._ratio.observe(record.evaluate_s / record.predicted_s)
        self._edges.inc(record.cost.edges)
        self._splits.inc(record.n_splits)
        self._out_of_memory.inc(record.n_out_of_memory)

    def watch(
        self,
        *,
        n_waiting: Callable[[], int],
        waiting_s: Callable[[], float],
        n_faults: Callable[[], int],
        draining: Callable[[], bool],
    ) -> None:
        """Read these whenever the metrics are scraped.

        Args:
            n_waiting: Structures in the line.
            waiting_s: Predicted time until all present are answered, seconds.
            n_faults: Banks whose newest version is not in use.
            draining: Whether the service is shutting down.
        """
        self._gauge("queue_structures", "Structures that wait for the device.", n_waiting)
        self._gauge("backlog_seconds", "Predicted time until all present are answered.", waiting_s)
        self._gauge("rollout_faults", "Banks whose newest version is not in use.", n_faults)
        self._gauge("drain_state", "1 while the service is shutting down.", draining)

    def _gauge(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        gauge = Gauge(f"posterion_{name}", documentation, registry=self._registry)
        gauge.set_function(read)
