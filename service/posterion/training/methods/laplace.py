"""Last-layer Laplace approximation: a Gaussian posterior of the weights that give the energy.

Energies and forces are linear in the last layer of the energy readout. Their derivatives by
its weights are therefore what the network answers with a unit vector in place of that layer,
and the posterior of these weights, all others held at the optimum, is exactly Gaussian (Kristiadi,
Hein and Hennig, ICML 2020; Daxberger et al., NeurIPS 2021).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from torch import Tensor

from posterion.graph.batch import bounded_runs, build_graph, collate
from posterion.network.functional import NetworkFunction
from posterion.structures.ase_io import LabelledFrame
from posterion.training.method_config import LastLayerLaplaceConfig
from posterion.training.methods.linear_posterior import add_evidence, draw_weights
from posterion.training.methods.optimized import OptimizedNetworks, how_it_ended
from posterion.training.methods.protocol import BankSamples, FinishedGroup, TrainedOn

FRAMES_PER_BATCH: Final = 8
EDGES_PER_BATCH: Final = 2048


class Features(NamedTuple):
    """Derivatives of labels by the last energy weights, and the noise of the labels.

    Attributes:
        energy: Shape ``(n_structures, n_weights)``, eV.
        energy_std: Shape ``(n_structures,)``, eV.
        forces: Shape ``(3 n_atoms, n_weights)``, eV/Angstrom.
        force_std: Shape ``(3 n_atoms,)``, eV/Angstrom.
    """

    energy: Tensor
    energy_std: Tensor
    forces: Tensor
    force_std: Tensor


def last_layer_features(
    function: NetworkFunction, parameters: Tensor, frames: Sequence[LabelledFrame]
) -> Iterator[Features]:
    """Evaluate the features of labelled frames, some frames at a time.

    Args:
        function: The network, float64.
        parameters: Optimum, shape ``(n_parameters,)``.
        frames: Frames.

    Yields:
        Features of consecutive frames.
    """
    last = function.last_energy_weights
    n_weights = last.stop - last.start
    units = parameters.repeat(n_weights, 1)
    units[:, last] = torch.eye(n_weights, dtype=units.dtype, device=units.device)
    graphs = [build_graph(frame.structure, function.config.cutoff) for frame in frames]
    for run in bounded_runs(graphs, n_edges=EDGES_PER_BATCH, n_graphs=FRAMES_PER_BATCH):
        batch = collate(graphs[run], dtype=function.dtype, device=function.device)
        outputs = function.evaluate(units, batch, stress=False)
        yield Features(
            energy=(outputs.energy - function.reference_energy(batch)).T,
            energy_std=outputs.energy_std,
            forces=outputs.forces.flatten(1).T,
            force_std=outputs.force_std[0].repeat_interleave(3),
        )


def last_layer_precision(
    function: NetworkFunction,
    parameters: Tensor,
    frames: Sequence[LabelledFrame],
    *,
    prior_std: float,
) -> Tensor:
    """Precision of the last energy weights given all labels of the frames.

    Args:
        function: The network, float64.
        parameters: Optimum, shape ``(n_parameters,)``.
        frames: Training frames.
        prior_std: Standard deviation of the prior.

    Returns:
        Shape ``(n_weights, n_weights)``.
    """
    last = function.last_energy_weights
    eye = torch.eye(last.stop - last.start, dtype=function.dtype, device=function.device)
    precision = eye / prior_std**2
    for features in last_layer_features(function, parameters, frames):
        precision = add_evidence(precision, features.energy, features.energy_std)
        precision = add_evidence(precision, features.forces, features.force_std)
    return precision


@dataclass(frozen=True, slots=True)
class LastLayerLaplace(OptimizedNetworks):
    """Draws of one network's last energy weights; see `Method`.

    Attributes:
        settings: How many draws.
    """

    settings: LastLayerLaplaceConfig

    @property
    def outcome(self) -> str:
        """See `Method`."""
        return f"{self.settings.n_samples} draws of the last layer of one network"

    @property
    def meaning(self) -> str:
        """See `Method`."""
        return (
            "One network with draws from the Gaussian posterior of its last energy weights. Their "
            "spread is the epistemic part of the uncertainty."
        )

    def bank(self, groups: Sequence[FinishedGroup], trained_on: TrainedOn) -> BankSamples:
        """See `Method`."""
        (group,) = groups
        function = NetworkFunction(
            trained_on.network, trained_on.reference, dtype=torch.float64, device=trained_on.device
        )
        optimum = group.state["average"][0].to(function.device, function.dtype)
        precision = last_layer_precision(
            function, optimum, trained_on.frames, prior_std=self.config.prior.std
        )
        last = function.last_energy_weights
        weights = draw_weights(
            optimum[last].cpu(),
            precision.cpu(),
            n_samples=self.settings.n_samples,
            generator=torch.Generator().manual_seed(self.settings.seed),
        )
        parameters = optimum.cpu().repeat(self.settings.n_samples, 1)
        parameters[:, last] = weights
        n_weights = last.stop - last.start
        return BankSamples(
            parameters=parameters,
            origin=tuple((group.chains[0], draw) for draw in range(self.settings.n_samples)),
            diagnostics={
                **how_it_ended(groups),
                "feature_evaluations": n_weights * len(trained_on.frames),
                "last_layer_prior_share": float(
                    torch.linalg.inv(precision).trace() / (n_weights * self.config.prior.std**2)
                ),
            },
        )
