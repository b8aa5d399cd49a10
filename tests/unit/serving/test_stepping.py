"""Steps of a session over a real bank: where they are prepared, for how long, how much is kept."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from posterion.api.stepper import StepsRequest
from posterion.errors import DeadlineExceeded, TooLarge
from posterion.graph.batch import Graph
from posterion.inference.predictor import Predictor
from posterion.inference.structure_checks import list_pairs
from posterion.serving.batcher import Batcher
from posterion.serving.formation import Cost
from posterion.serving.groups import Group, evaluate
from posterion.serving.stepping import BankStepper
from posterion.serving.work import BatcherLimits
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.prediction import FloatArray, Prediction
from posterion.structures.structure import Structure
from tests.support.banks import ethanol, random_bank

CHAIN = Structure(atomic_numbers=np.full(20, 6), positions=np.arange(20.0)[:, None] * [3.0, 0, 0])
"""Each atom has its two neighbours within 4.5 Angstrom, and two more every 3 beyond."""


class Pool(ThreadPoolExecutor):
    """Two threads that do what they are asked once the gate is open.

    Attributes:
        gate: Open at first.
        n_asked: How often they were asked.
        most_at_once: How many were at work together.
    """

    def __init__(self) -> None:
        super().__init__(max_workers=2)
        self.gate = threading.Event()
        self.gate.set()
        self.n_asked = 0
        self.most_at_once = 0
        self._at_once = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401
        self.n_asked += 1
        return super().submit(self._run, fn, *args, **kwargs)

    def _run(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> object:  # noqa: ANN401
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        self.gate.wait(30.0)
        try:
            return fn(*args, **kwargs)
        finally:
            self._at_once -= 1


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    """A small bank with cutoff 4.5."""
    return Predictor(random_bank(n_samples=2))


@contextlib.asynccontextmanager
async def stepping(
    predictor: Predictor,
    structure: Structure,
    *,
    n_images: int,
    skin: float = 1.0,
    max_edges: int = 1_000_000,
) -> AsyncIterator[tuple[BankStepper, Pool]]:
    """A session about a structure; it has not been checked."""
    bound = Cost(edges=100_000, atoms=100_000)
    batcher: Batcher[Group, Graph, Prediction] = Batcher(evaluate, BatcherLimits(bounds=bound))
    batcher.start()
    options = EvaluationOptions()
    request = StepsRequest(structure=structure, n_images=n_images, skin=skin, options=options)
    with Pool() as pool:
        yield BankStepper(predictor, batcher, pool, request, max_edges), pool
    await batcher.stop(5.0)


def images(structure: Structure, n_images: int) -> FloatArray:
    return np.repeat(structure.positions[None], n_images, axis=0)


@pytest.mark.parametrize(("n_images", "n_threads"), [(1, 0), (200, 1)])
def test_many_small_images_are_prepared_in_a_thread(
    predictor: Predictor, n_images: int, n_threads: int
) -> None:
    async def talk() -> None:
        async with stepping(predictor, ethanol(), n_images=n_images) as (stepper, pool):
            await stepper.check()
            done = await stepper.step(images(ethanol(), n_images), None, deadline_s=None)
            assert all(isinstance(each, Prediction) for each in done.results)
            assert (pool.n_asked, done.n_rebuilds) == (1 + n_threads, n_images - 1)

    asyncio.run(talk())


def test_the_pairs_of_all_images_are_bounded_with_their_skin(predictor: Predictor) -> None:
    async def talk() -> None:
        async with stepping(predictor, CHAIN, n_images=2, skin=3.0, max_edges=100) as (one, _):
            await one.check()
            # 38 edges and 74 pairs in each image: the second finds no room for its pairs.
            for _ in range(2):
                with pytest.raises(TooLarge, match=r"at most 26 pairs .* the skin .*7.5 .* got 74"):
                    await one.step(images(CHAIN, 2), None, deadline_s=None)
                assert one.n_pairs == 0
        async with stepping(predictor, CHAIN, n_images=2, skin=0.5, max_edges=100) as (other, _):
            done = await other.step(images(CHAIN, 2), None, deadline_s=None)
            assert all(isinstance(each, Prediction) for each in done.results)
        async with stepping(predictor, CHAIN, n_images=1, skin=5.0, max_edges=100) as (third, _):
            with pytest.raises(TooLarge, match="a smaller skin"):
                await third.check()

    asyncio.run(talk())


def test_what_is_clearly_too_long_is_not_listed(predictor: Predictor) -> None:
    places = np.stack(np.meshgrid(*[np.arange(9.0)] * 3), axis=-1).reshape(-1, 3) * 2.0
    crystal = Structure(atomic_numbers=np.full(len(places), 6), positions=places)
    neighbors = predictor.skin_list(1.0)
    with pytest.raises(TooLarge):
        list_pairs(crystal, neighbors, max_pairs=1000)
    assert neighbors.n_builds == 0


def test_a_deadline_ends_a_long_preparation_and_the_next_step_waits_for_it(
    predictor: Predictor,
) -> None:
    n_images = 300
    places = images(ethanol(), n_images)

    async def talk() -> None:
        async with stepping(predictor, ethanol(), n_images=n_images) as (stepper, pool):
            await stepper.check()
            pool.gate.clear()
            async with asyncio.timeout(20.0):
                with pytest.raises(DeadlineExceeded):
                    await stepper.step(places, None, deadline_s=0.1)
                second = asyncio.create_task(stepper.step(places, None, deadline_s=None))
                await asyncio.sleep(0.1)
                pool.gate.set()
                done = await second
            assert all(isinstance(each, Prediction) for each in done.results)
            assert pool.most_at_once == 1

    asyncio.run(talk())
