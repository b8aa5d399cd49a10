"""Say which service answers, which models it has, and how long a step takes.

`--bench` asks about one structure again and again, moved a little each time, over every way
that a client has, in turns, and prints the median and the 95th percentile of the round trip:
what a step of molecular dynamics costs from here.

    posterion-client ping --bench
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posterion_client._catalog import ModelCard
from posterion_client._cli.service_client import RETRY_S, client_of
from posterion_client._client import Client
from posterion_client._elements import SYMBOLS
from posterion_client._errors import InvalidArgument
from posterion_client._service_arguments import add_service_arguments
from posterion_client._structure import Structure
from posterion_client.md import MDSession

FloatArray = NDArray[np.float64]

_WARM_UP: Final = 5
_SPACING: Final = 1.6
"""Angstrom between the atoms of the structure that is asked about."""
_MOVE: Final = 1e-4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments.

    Args:
        parser: Of the subcommand.
    """
    add_service_arguments(parser, retry_s=RETRY_S)
    parser.add_argument("--bench", action="store_true", help="measure the round trip of a step")
    parser.add_argument("--atoms", type=int, default=9, help="of the structure (default 9)")
    parser.add_argument("--steps", type=int, default=100, help="measured per way (default 100)")


def run(arguments: argparse.Namespace) -> int:
    """Ask, measure and print.

    Args:
        arguments: Of the command line.

    Returns:
        The exit code.

    Raises:
        InvalidArgument: If a number is not positive.
    """
    if arguments.atoms < 1 or arguments.steps < 1:
        raise InvalidArgument("--atoms and --steps must be at least 1")
    with client_of(arguments) as client:
        begun = time.perf_counter()
        service = client.service()
        took_ms = (time.perf_counter() - begun) * 1e3
        print(f"{client.url} answers in {took_ms:.1f} ms; default model {service.default_model}")
        for card in client.models():
            symbols = " ".join(SYMBOLS[number - 1] for number in card.elements)
            print(f"  {card.name} {card.version}: {symbols}; {card.n_samples} samples")
        if arguments.bench:
            card = client.model(arguments.model, arguments.version)
            _bench(client, card, n_atoms=arguments.atoms, n_steps=arguments.steps)
    return 0


def _bench(client: Client, card: ModelCard, *, n_atoms: int, n_steps: int) -> None:
    numbers = np.resize(np.array(card.elements), n_atoms)
    side = int(np.ceil(n_atoms ** (1 / 3)))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    positions = _SPACING * grid[:n_atoms].astype(np.float64)
    with ExitStack() as stack:
        asked: dict[str, Callable[[FloatArray], object]] = {}
        for transport in ("websocket", "http"):
            session = MDSession(
                numbers,
                url=client.url,
                model=card.name,
                version=card.digest,
                transport=transport,
            )
            stack.callback(session.close)
            asked[f"MDSession, {transport}"] = session.evaluate
        asked["Client.predict"] = lambda where: client.predict(
            Structure(numbers=numbers, positions=where), model=card.name, version=card.digest
        )
        times = _round_trips(asked, positions, n_steps)
    print(f"\n{card.name}, {n_atoms} atoms, {n_steps} steps per way, in turns; milliseconds:")
    print(f"  {'way':24} {'median':>8} {'95 %':>8}")
    for way, taken in times.items():
        median, late = np.percentile(taken, [50, 95]) * 1e3
        print(f"  {way:24} {median:8.2f} {late:8.2f}")


def _round_trips(
    asked: Mapping[str, Callable[[FloatArray], object]], positions: FloatArray, n_steps: int
) -> Mapping[str, Sequence[float]]:
    """Seconds per step of every way, asked in turns."""
    times: dict[str, list[float]] = {way: [] for way in asked}
    for step in range(_WARM_UP + n_steps):
        moved = positions + _MOVE * (step + 1)
        for way, ask in asked.items():
            begun = time.perf_counter()
            ask(moved)
            times[way].append(time.perf_counter() - begun)
    return {way: taken[_WARM_UP:] for way, taken in times.items()}
