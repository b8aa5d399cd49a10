"""How TorchSim runs on Posterion: a model whose systems of one step are one request.

>>> from posterion_client.torchsim import PosterionModel
>>> model = PosterionModel()  # doctest: +SKIP
>>> torch_sim.integrate(system=[atoms] * 8, model=model, ...)  # doctest: +SKIP

Written for torch-sim-atomistic 0.3. The tensors of a state go to the service as float64 arrays
and come back as its dtype on its device; no network runs here.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch_sim.models.interface import ModelInterface
from torch_sim.state import SimState
from torch_sim.typing import MemoryScaling

from posterion_client._errors import InvalidArgument
from posterion_client._halting import Halt, UncertaintyExceeded, check_halt, halting_flags
from posterion_client._retry import RetryPolicy
from posterion_client.md import BatchEvaluation, BatchSession, Precision

if TYPE_CHECKING:
    from torch_sim.typing import StateDict, StateKey

__all__ = ["PosterionModel"]

_UNCERTAINTY: Final = ("energy_epistemic", "force_max", "force_rms")


class PosterionModel(ModelInterface):  # type: ignore[misc] # TorchSim is not installed here
    """Energies, forces and stress of TorchSim's systems from a Posterion service.

    The sample set that answers first answers every step. The answer holds, beside what
    TorchSim asks for, ``energy_epistemic`` (eV), ``force_max`` and ``force_rms``
    (eV/Angstrom), shape ``(n_systems,)``, and ``force_epistemic``, shape ``(n_atoms,)``;
    `last` keeps it with the flags.

    Args:
        url: Address of the service; default as for `posterion_client.md.MDSession`.
        model: Model to ask; default is the service's.
        version: Version, digest or alias of the model.
        digest: Sample set that must answer.
        stress: Whether to ask for the stress; needed by constant-pressure integrators and
            cell filters. Systems must then be periodic.
        precision: ``float64`` evaluates with the slower reference engine.
        n_samples: Evaluate only the first n samples.
        halt: End the run at flags of this severity, ``candidate`` or ``failed``, or a worse one.
        dtype: Of the tensors that are returned.
        device: Of the tensors that are returned.
        retry: How long a step is sent again; default is ten minutes.

    Raises:
        InvalidArgument: If a setting is wrong.
    """

    def __init__(  # noqa: PLR0913 - every setting is a keyword with a default
        self,
        url: str | None = None,
        *,
        model: str | None = None,
        version: str | None = None,
        digest: str | None = None,
        stress: bool = False,
        precision: Precision = "float32",
        n_samples: int | None = None,
        halt: Halt = "never",
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
        retry: RetryPolicy | None = None,
    ) -> None:
        super().__init__()
        check_halt(halt)
        self._device = torch.device(device)
        self._dtype = dtype
        self._compute_stress = stress
        self._compute_forces = True
        # The service batches by what its device holds; here only arrays are kept.
        self._memory_scales_with: MemoryScaling = "n_atoms"
        self._halt = halt
        self._session = BatchSession(
            url=url,
            model=model,
            version=version,
            digest=digest,
            stress=stress,
            precision=precision,
            n_samples=n_samples,
            retry=retry,
        )
        self._last: BatchEvaluation | None = None
        self._n_requests = 0

    @property
    def last(self) -> BatchEvaluation | None:
        """The last answer, with flags; None before the first."""
        return self._last

    @property
    def digest(self) -> str | None:
        """The sample set that answers; None before the first answer."""
        return self._session.digest

    @property
    def n_requests(self) -> int:
        """How many requests were answered."""
        return self._n_requests

    def forward(
        self,
        state: "SimState | StateDict",
        **kwargs: object,  # noqa: ARG002 - of the interface
    ) -> dict[str, torch.Tensor]:
        """Ask about all systems of a state in one request.

        Args:
            state: A `SimState`, or a mapping with its fields, with or without masses.
            kwargs: Of the interface; nothing is read.

        Returns:
            ``energy`` ``(n_systems,)``, ``forces`` ``(n_atoms, 3)``, ``stress``
            ``(n_systems, 3, 3)`` if it was wanted, and the uncertainties listed at the class.

        Raises:
            InvalidArgument: If stress is wanted of systems that are not periodic.
            UncertaintyExceeded: If ``halt`` says so.
            PosterionError: If the service cannot answer.
        """
        asked = _state(state) if isinstance(state, Mapping) else state
        pbc = _directions(asked.pbc)
        if self._compute_stress and not all(pbc):
            raise InvalidArgument(f"stress needs full periodicity, the state has pbc {list(pbc)}")
        sizes = torch.bincount(asked.system_idx, minlength=asked.n_systems)
        found = self._session.evaluate(
            _array(asked.atomic_numbers),
            _array(asked.positions).astype(np.float64),
            _array(sizes),
            cells=_array(asked.row_vector_cell).astype(np.float64) if any(pbc) else None,
            pbc=pbc,
        )
        self._n_requests += 1
        self._last = found
        self._judge(found)
        return self._tensors(found)

    def close(self) -> None:
        """Hang up."""
        self._session.close()

    def _judge(self, found: BatchEvaluation) -> None:
        ended = {
            system: halting_flags(
                self._halt, candidate=() if failed else flags, failed=flags if failed else ()
            )
            for system, (flags, failed) in enumerate(zip(found.flags, found.failed, strict=True))
        }
        systems = [system for system, flags in ended.items() if flags]
        if systems:
            codes = sorted({code for flags in ended.values() for code in flags})
            raise UncertaintyExceeded(
                f"flags of systems {systems}: {', '.join(codes)}", flags=codes
            )

    def _tensors(self, found: BatchEvaluation) -> dict[str, torch.Tensor]:
        arrays: dict[str, NDArray[np.float64] | None] = {
            "energy": found.energies,
            "forces": found.forces,
            "stress": found.stress,
            "force_epistemic": found.force_epistemic,
            **{name: getattr(found, name) for name in _UNCERTAINTY},
        }
        return {
            name: torch.tensor(array, dtype=self._dtype, device=self._device)
            for name, array in arrays.items()
            if array is not None
        }


def _state(fields: "Mapping[StateKey, torch.Tensor]") -> SimState:
    # TorchSim's own models are content without masses too, and need none.
    named = {str(name): value for name, value in fields.items()}
    return SimState(**{"masses": torch.ones_like(named["atomic_numbers"]), **named})


def _directions(pbc: "torch.Tensor | bool | list[bool]") -> tuple[bool, bool, bool]:
    first, second, third = torch.as_tensor(pbc).expand(3).tolist()
    return bool(first), bool(second), bool(third)


def _array(tensor: torch.Tensor) -> NDArray[np.generic]:
    found: NDArray[np.generic] = tensor.detach().cpu().numpy()
    return found
