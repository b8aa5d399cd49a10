"""What the trainer asks of an uncertainty method, and what it gets.

Whatever the method, a bank is K parameter vectors of one network, so that every engine can
evaluate it. A method says how its members are advanced (chains, or networks that are
optimised), and how their final states become those vectors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import JsonValue
from torch import Tensor

from posterion.network.config import EnergyReference, NetworkConfig
from posterion.structures.ase_io import LabelledFrame
from posterion.training.chain_setup import StepReport
from posterion.training.history import Log
from posterion.training.likelihood import ForceLikelihood
from posterion.training.run_parts import RunParts


class MemberRun(Protocol):
    """The members of one worker: their state, and the step that advances them together."""

    step: int
    """Steps done."""

    @property
    def n_steps(self) -> int:
        """Steps in all; a divergence may lengthen the run."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the last step was taken."""
        ...

    def advance(self) -> StepReport:
        """Take one step.

        Raises:
            ChainDiverged: If a gradient is not finite or the error jumps; the caller
                calls ``retreat`` with a checkpoint.
        """
        ...

    def retreat(self, state: dict[str, Tensor]) -> None:
        """After a divergence: go back to an earlier state, take smaller steps from there on.

        Args:
            state: What ``state_dict`` gave; its counts of divergences are not gone back to.

        Raises:
            ChainDiverged: If that was tried too often.
        """
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors from which the run continues bitwise."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue where ``state_dict`` was taken, on this run's device."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FinishedGroup:
    """What one worker left behind.

    Attributes:
        chains: Numbers of its members.
        state: Their last checkpoint.
        log: Their CSV log, column by column.
    """

    chains: tuple[int, ...]
    state: Mapping[str, Tensor]
    log: Log

    @property
    def numbers(self) -> str:
        """The numbers of the members, for plots and messages."""
        return ", ".join(map(str, self.chains))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedOn:
    """Network and data of the members.

    Attributes:
        network: Architecture, as it is published.
        reference: Energy reference.
        frames: Training frames.
        device: ``cpu`` or ``cuda``.
    """

    network: NetworkConfig
    reference: EnergyReference
    frames: tuple[LabelledFrame, ...]
    device: str

    @property
    def labels_per_frame(self) -> float:
        """Mean number of labels of a frame: its energy and its force components."""
        n_atoms = sum(frame.structure.n_atoms for frame in self.frames)
        return 1.0 + 3.0 * n_atoms / len(self.frames)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BankSamples:
    """The parameter vectors that are published.

    Attributes:
        parameters: In the order of evaluation, shape ``(n_samples, n_parameters)``: first
            draws of all members, then second draws, so that the first few samples already
            span the members.
        origin: Member and draw of each row of ``parameters``.
        diagnostics: How the members ran.
        files: Further files of the sample set by name.
    """

    parameters: Tensor
    origin: tuple[tuple[int, int], ...]
    diagnostics: dict[str, JsonValue]
    files: Mapping[str, bytes] = field(default_factory=dict)


class Method(Protocol):
    """An uncertainty method, settled for one configuration."""

    @property
    def likelihood(self) -> ForceLikelihood:
        """How probable a force error is."""
        ...

    @property
    def n_steps(self) -> int:
        """Minibatch steps of each member, if nothing diverges."""
        ...

    def n_steps_of(self, state: Mapping[str, Tensor]) -> int:
        """Minibatch steps in all of members with this checkpoint."""
        ...

    @property
    def n_steps_to_start(self) -> int:
        """Steps after which a divergence leads back to the state at exactly that step.

        Before it, the last checkpoint is the place to return to.
        """
        ...

    @property
    def n_steps_to_draws(self) -> int:
        """Steps until samples are collected: asking for more of them does not change it."""
        ...

    @property
    def identity(self) -> Mapping[str, JsonValue]:
        """Settings on which the path of a member depends; part of the run's fingerprint."""
        ...

    @property
    def outcome(self) -> str:
        """What the run will publish, in a few words."""
        ...

    @property
    def member(self) -> str:
        """What a member is called: ``chain`` or ``network``."""
        ...

    @property
    def meaning(self) -> str:
        """What the published samples are and what is epistemic in them: two sentences."""
        ...

    @property
    def reading(self) -> str:
        """How the diagnostics are to be read: a paragraph of the model card."""
        ...

    @property
    def latent_epistemic(self) -> bool:
        """Whether the score of the latent density is the epistemic part of the forces."""
        ...

    def start(self, chains: Sequence[int], parts: RunParts) -> MemberRun:
        """Build the members of one worker, before their first step."""
        ...

    def bank(self, groups: Sequence[FinishedGroup], trained_on: TrainedOn) -> BankSamples:
        """Turn finished members into the parameter vectors that are published."""
        ...

    def failed_gates(self, diagnostics: Mapping[str, JsonValue]) -> list[str]:
        """Which conditions of publication are not met, each as a sentence."""
        ...
