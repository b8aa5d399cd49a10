"""The children of a metric by their labels, found without asking the metric every time."""

from typing import Generic, TypeVar

from prometheus_client.metrics import MetricWrapperBase

MetricT = TypeVar("MetricT", bound=MetricWrapperBase)


class Family(Generic[MetricT]):
    """A metric with labels, none of whose children is ever removed.

    ``prometheus_client`` checks and converts the labels and takes a lock at every look-up; a
    predict request makes eight.
    """

    def __init__(self, metric: MetricT) -> None:
        """Wrap a metric.

        Args:
            metric: Registered already; from now on its children are asked for here.
        """
        self._metric = metric
        self._children: dict[tuple[str, ...], MetricT] = {}

    def labels(self, *values: str) -> MetricT:
        """The child with these labels.

        Args:
            values: One per label of the metric.
        """
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = self._metric.labels(*values)
        return child
