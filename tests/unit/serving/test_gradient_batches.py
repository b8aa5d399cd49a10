"""Requests for gradients join the line like others, but are batched and learnt about apart."""

import asyncio
from typing import get_args

import numpy as np

from posterion.inference.predictor import Predictor
from posterion.serving.batcher import Batcher
from posterion.serving.formation import Cost
from posterion.serving.groups import Group, evaluate, kind_of, works_of
from posterion.serving.work import BatcherLimits, BatchRecord
from posterion.structures.evaluation import EvaluationOptions, GradientScalar
from posterion.structures.prediction import Prediction
from tests.support.banks import random_bank, thermal_ethanol

PLAIN = EvaluationOptions()
PUSHED = EvaluationOptions(gradient_of="force_epistemic_rms")


def test_a_batch_holds_one_kind_of_gradient_or_none() -> None:
    predictor = Predictor(random_bank(n_samples=2))
    structures = thermal_ethanol(6)
    records: list[BatchRecord] = []

    async def talk() -> list[Prediction]:
        limits = BatcherLimits(bounds=Cost(edges=100_000, atoms=100_000))
        batcher = Batcher(evaluate, limits, kind_of=kind_of, observe=records.append)
        batcher.start()

        async def ask(index: int) -> Prediction:
            options = PUSHED if index % 2 else PLAIN
            works = works_of(predictor, options, [predictor.prepare(structures[index])])
            with batcher.admission(1):
                group = Group(predictor=predictor, options=options)
                answers = await batcher.submit(group, works, deadline=None)
            (result,) = answers.results
            assert isinstance(result, Prediction)
            return result

        found = await asyncio.gather(*(ask(index) for index in range(len(structures))))
        await batcher.stop(10.0)
        return found

    found = asyncio.run(talk())
    assert sum(record.n_structures for record in records) == 6
    assert max(record.n_structures for record in records) <= 3
    for index, prediction in enumerate(found):
        gradient = prediction.uncertainty_gradient
        assert (gradient is not None) == bool(index % 2)
        if gradient is not None:
            (alone,) = predictor.predict([structures[index]], PUSHED)
            assert isinstance(alone, Prediction)
            assert alone.uncertainty_gradient is not None
            np.testing.assert_allclose(
                gradient.positions, alone.uncertainty_gradient.positions, atol=1e-6
            )


def test_what_gradients_cost_is_learnt_apart() -> None:
    predictor = Predictor(random_bank(n_samples=2))
    options = [
        PLAIN,
        *(EvaluationOptions(gradient_of=scalar) for scalar in get_args(GradientScalar)),
    ]
    kinds = {kind_of(Group(predictor=predictor, options=each)) for each in options}
    assert len(kinds) == len(options)
