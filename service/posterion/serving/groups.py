"""What the batcher evaluates: structures of one bank with one set of options."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from posterion.api.backend import ModelIdentity
from posterion.errors import PosterionError
from posterion.graph.batch import Graph
from posterion.inference.predictor import Predictor
from posterion.serving.formation import Cost
from posterion.serving.work import Work
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.prediction import Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What structures of one batch share: only those of one group meet.

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
    options = group.options
    return (group.predictor.bank.config, engine, options.adaptive, options.gradient_of)


def evaluate(group: Group, graphs: Sequence[Graph]) -> Sequence[Prediction | PosterionError]:
    """Evaluate one batch on the device; see `posterion.serving.work.Evaluator`."""
    return group.predictor.evaluate(graphs, group.options)


def works_of(
    predictor: Predictor, options: EvaluationOptions, graphs: Sequence[Graph]
) -> list[Work[Graph]]:
    """Say what each structure costs.

    Args:
        predictor: The bank.
        options: How it is evaluated.
        graphs: The structures.
    """
    n_samples = predictor.n_samples_used(options)
    return [
        Work(
            item=graph,
            cost=Cost(edges=graph.n_edges * n_samples, atoms=graph.n_atoms * n_samples),
        )
        for graph in graphs
    ]


def identity_of(predictor: Predictor, options: EvaluationOptions) -> ModelIdentity:
    """Say which version answers, and how.

    Args:
        predictor: The bank.
        options: How it is evaluated.
    """
    engine = predictor.engine(options)
    return ModelIdentity(
        name=predictor.name,
        version=predictor.version,
        digest=predictor.digest,
        n_samples=predictor.n_samples_used(options),
        engine=engine.name,
        engine_deviation=engine.deviation,
    )
