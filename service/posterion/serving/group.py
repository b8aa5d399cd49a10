"""What the structures of one batch share: a bank, and how it is evaluated."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from posterion.errors import PosterionError
from posterion.graph.batch import Graph
from posterion.inference.predictor import Predictor
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.prediction import Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Structures of one group meet in a batch.

    Attributes:
        predictor: The bank in memory.
        options: How it is evaluated.
    """

    predictor: Predictor
    options: EvaluationOptions


def kind_of(group: Group) -> Hashable:
    """What the cost of a batch follows from, beside its edges and atoms.

    Banks of one architecture share what is learnt, and so do the versions of one bank.
    """
    engine = group.predictor.engine(group.options).name
    return (group.predictor.bank.config, engine, group.options.adaptive)


def evaluate(group: Group, graphs: Sequence[Graph]) -> Sequence[Prediction | PosterionError]:
    """Evaluate one batch on the device; see `posterion.serving.work.Evaluator`."""
    return group.predictor.evaluate(graphs, group.options)
