"""The potential whose exponential the chains sample: energy and force likelihood plus prior.

Everything has static shapes: frames are padded to the largest frame of the data set, so
that a step can be traced once, compiled, and replayed for any minibatch. Padding is exact:
padded edges lie beyond the cutoff, padded atoms belong to a structure that is cut off.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from posterion.graph.batch import Graph, build_graph
from posterion.network.functional import NetworkFunction, Topology
from posterion.posterior.density import potential_per_datum
from posterion.posterior.prior import GaussianPrior
from posterion.structures.ase_io import LabelledFrame
from posterion.training.likelihood import ForceLikelihood


class PaddedFrames(NamedTuple):
    """Labelled frames as tensors of equal size, on the device.

    Attributes:
        positions: Shape ``(n_frames, max_atoms, 3)``, Angstrom.
        one_hot: Shape ``(n_frames, max_atoms, n_elements)``; zero rows are padding.
        atom_mask: Shape ``(n_frames, max_atoms)``, 1 for atoms, 0 for padding.
        centre: Shape ``(n_frames, max_edges)``.
        neighbor: Shape ``(n_frames, max_edges)``.
        shifts: Shape ``(n_frames, max_edges, 3)``, Angstrom; twice the cutoff for padding.
        energy: Shape ``(n_frames,)``, eV above the reference.
        forces: Shape ``(n_frames, max_atoms, 3)``, eV/Angstrom.
    """

    positions: Tensor
    one_hot: Tensor
    atom_mask: Tensor
    centre: Tensor
    neighbor: Tensor
    shifts: Tensor
    energy: Tensor
    forces: Tensor

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.positions.shape[0]


class Potential(NamedTuple):
    """Value and gradient of the minibatch potential U/N of each chain.

    Attributes:
        gradient: Shape ``(n_chains, n_parameters)``.
        value: Mean negative log likelihood per frame minus log prior / N, ``(n_chains,)``.
        force_error: Mean absolute force error of the minibatch, eV/Angstrom, ``(n_chains,)``.
    """

    gradient: Tensor
    value: Tensor
    force_error: Tensor


PotentialFunction = Callable[[Tensor, Tensor, Tensor], Potential]
"""(parameters ``(n_chains, n_parameters)``, frame indices ``(n_chains, batch)``, weight of the
energy term, a scalar) -> potential. The weight is 1 except while pretraining."""


def pad_frames(frames: Sequence[LabelledFrame], function: NetworkFunction) -> PaddedFrames:
    """Pad frames to one size and move them to the function's device and dtype.

    Args:
        frames: At least one frame.
        function: Gives cutoff, elements, energy reference, dtype and device.

    Returns:
        The padded tensors.
    """
    cutoff = function.config.cutoff
    graphs = [build_graph(frame.structure, cutoff) for frame in frames]
    max_atoms = max(graph.n_atoms for graph in graphs)
    max_edges = max(1, *(graph.n_edges for graph in graphs))
    n_frames = len(frames)
    numbers = np.zeros((n_frames, max_atoms), dtype=np.int64)
    positions = np.zeros((n_frames, max_atoms, 3))
    forces = np.zeros((n_frames, max_atoms, 3))
    ends = np.zeros((2, n_frames, max_edges), dtype=np.int64)
    shifts = np.zeros((n_frames, max_edges, 3))
    shifts[..., 0] = 2.0 * cutoff
    for row, (frame, graph) in enumerate(zip(frames, graphs, strict=True)):
        numbers[row, : graph.n_atoms] = frame.structure.atomic_numbers
        centre = frame.structure.positions.mean(axis=0)
        positions[row, : graph.n_atoms] = frame.structure.positions - centre
        forces[row, : graph.n_atoms] = frame.forces
        ends[:, row, : graph.n_edges] = graph.edge_index
        shifts[row, : graph.n_edges] = graph.shifts

    def real(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(device=function.device, dtype=function.dtype)

    flat_numbers = torch.from_numpy(numbers).to(function.device)
    return PaddedFrames(
        positions=real(positions),
        one_hot=function.one_hot(flat_numbers.reshape(-1)).reshape(n_frames, max_atoms, -1),
        atom_mask=(flat_numbers > 0).to(function.dtype),
        centre=torch.from_numpy(ends[0]).to(function.device),
        neighbor=torch.from_numpy(ends[1]).to(function.device),
        shifts=real(shifts),
        energy=real(_centred_energies(frames, graphs, function)),
        forces=real(forces),
    )


def _centred_energies(
    frames: Sequence[LabelledFrame], graphs: Sequence[Graph], function: NetworkFunction
) -> np.ndarray:
    shifts = function.reference.shifts
    return np.array(
        [
            frame.energy - sum(shifts[int(z)] for z in graph.structure.atomic_numbers)
            for frame, graph in zip(frames, graphs, strict=True)
        ]
    )


def make_potential(
    function: NetworkFunction,
    frames: PaddedFrames,
    *,
    likelihood: ForceLikelihood,
    prior: GaussianPrior,
    n_data: int,
) -> PotentialFunction:
    """Assemble U/N of a minibatch and its gradient, for several chains at once.

    The likelihood of a frame is log N(E_ref | E, s_E^2 n_atoms) + the sum over atoms of the
    likelihood of their forces, constants dropped.

    Args:
        function: The network.
        frames: All training frames.
        likelihood: Of the force of an atom.
        prior: Of the parameters; tensors in it on the function's device.
        n_data: N, the number of training frames.

    Returns:
        A function of the parameters and of the frame indices of each chain's minibatch.
    """
    energy_std = function.reference.energy_std_per_sqrt_atom
    scale = function.config.noise_scale

    def potential(parameters: Tensor, indices: Tensor, energy_weight: Tensor) -> Potential:
        weights = parameters.detach().requires_grad_()
        batch = PaddedFrames(*(field[indices] for field in frames))
        energy, forces, noise = predict_padded(function, weights, batch, create_graph=True)
        n_atoms = batch.atom_mask.sum(dim=2)
        energy_term = (energy - batch.energy).square() / (2 * energy_std**2 * n_atoms)
        error = (forces - batch.forces) * batch.atom_mask[..., None]
        force_term = likelihood(error, noise, scale=scale) * batch.atom_mask
        loss = (energy_weight * energy_term + force_term.sum(dim=2)).mean(dim=1)
        value = potential_per_datum(loss, weights, prior=prior, n_data=n_data)
        (gradient,) = torch.autograd.grad(value.sum(), weights)
        absolute = error.detach().abs().sum(dim=(1, 2, 3)) / (3 * n_atoms.sum(dim=1))
        return Potential(gradient, value.detach(), absolute)

    return potential


def predict_padded(
    function: NetworkFunction, weights: Tensor, batch: PaddedFrames, *, create_graph: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Predict padded minibatches, one per chain.

    Args:
        function: The network.
        weights: Shape ``(n_chains, n_parameters)``.
        batch: Every field with two leading axes ``(n_chains, n_frames)``.
        create_graph: Whether the forces shall be differentiable.

    Returns:
        Energies above the reference ``(n_chains, n_frames)``, forces ``(n_chains, n_frames,
        max_atoms, 3)`` and noise outputs ``(n_chains, n_frames, max_atoms, n_outputs)``.
    """
    n_chains, n_frames, n_atoms = batch.atom_mask.shape
    positions = batch.positions.reshape(n_chains, n_frames * n_atoms, 3).detach().requires_grad_()
    offset = (torch.arange(n_frames, device=function.device) * n_atoms)[:, None]
    centre = (batch.centre + offset).reshape(n_chains, -1)
    neighbor = (batch.neighbor + offset).reshape(n_chains, -1)

    def gather(ends: Tensor) -> Tensor:
        return positions.gather(1, ends[..., None].expand(-1, -1, 3))

    vectors = gather(neighbor) + batch.shifts.reshape(n_chains, -1, 3) - gather(centre)
    frame = torch.arange(n_frames, device=function.device)[:, None].expand(-1, n_atoms)
    membership = torch.where(batch.atom_mask > 0, frame, n_frames).reshape(n_chains, -1)
    topology = Topology(
        centre, neighbor, batch.one_hot.reshape(n_chains, n_frames * n_atoms, -1), membership
    )
    centred = function.centred(weights, vectors, topology, n_structures=n_frames + 1)
    energy = centred.energy[:, :n_frames]
    (gradient,) = torch.autograd.grad(energy.sum(), positions, create_graph=create_graph)
    shape = (n_chains, n_frames, n_atoms)
    return energy, -gradient.reshape(*shape, 3), centred.noise.reshape(*shape, -1)


def compile_potential(
    potential: PotentialFunction, parameters: Tensor, indices: Tensor
) -> PotentialFunction:
    """Trace value and gradient into one graph and compile it for these shapes.

    The trace holds the backward passes, so no autograd is left at run time. On a GPU the
    compiled graph is replayed as a CUDA graph.

    Args:
        potential: What to compile.
        parameters: Example, shape ``(n_chains, n_parameters)``.
        indices: Example, shape ``(n_chains, batch)``.

    Returns:
        The same function, for the same shapes only.
    """
    energy_weight = torch.ones((), dtype=parameters.dtype, device=parameters.device)
    written_out = {} if parameters.is_cuda else {torch.ops.aten.bmm.default: _bmm_by_sums}
    traced = make_fx(potential, decomposition_table=written_out)(parameters, indices, energy_weight)
    mode = "reduce-overhead" if parameters.is_cuda else "default"
    compiled = torch.compile(traced, fullgraph=True, dynamic=False, mode=mode)
    one_thread = not parameters.is_cuda and torch.get_num_threads() == 1

    def run(parameters: Tensor, indices: Tensor, energy_weight: Tensor) -> Potential:
        with torch.no_grad(), _any_algorithm(allowed=one_thread):
            return Potential(*compiled(parameters, indices, energy_weight))

    return run


def _bmm_by_sums(left: Tensor, right: Tensor) -> Tensor:
    """A product of one small matrix per edge, which the compiler fuses with its neighbours.

    Calls to a library for hundreds of 5 x 5 matrices took a third of a step: 13.8 ms became 11.1
    with 16 features and l = 2, and nothing changed with l = 1 (ethanol, batch 5, one core of an
    Intel Xeon, 2026-11-27).
    """
    return (left.unsqueeze(-1) * right.unsqueeze(1)).sum(2)


@contextmanager
def _any_algorithm(*, allowed: bool) -> Iterator[None]:
    """Suspend torch's deterministic algorithms, where nothing depends on timing.

    One thread adds in one order. Asked for deterministic sums all the same, inductor calls
    out of its compiled code for each of them, which makes a step a third longer and changes no
    bit of it.
    """
    before = torch.are_deterministic_algorithms_enabled()
    # The public function sets inductor's configuration too, which takes as long as a step.
    switch = torch._C._set_deterministic_algorithms  # noqa: SLF001 - see above
    switch(before and not allowed)
    try:
        yield
    finally:
        switch(before)
