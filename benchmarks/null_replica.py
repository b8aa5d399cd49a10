"""The product's Ray Serve replica over the null backend. Importing this imports ray."""

from benchmarks.null_service import NullBackend
from posterion.serving.metrics import BatchMetrics
from posterion.serving.replica import Replica
from posterion.serving.served import ServedBackend
from posterion.serving.settings import ServeSettings


class NullReplica(Replica):
    """A replica whose answers cost nothing."""

    def _open(self, _settings: ServeSettings, _metrics: BatchMetrics) -> ServedBackend:
        return NullBackend()
