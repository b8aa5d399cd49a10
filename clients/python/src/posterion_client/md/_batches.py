"""The forces of many structures per step, of any sizes, in one request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posterion_client._address import resolve_url, with_authorization
from posterion_client._errors import InvalidArgument, InvalidStructure
from posterion_client._request import Target
from posterion_client._retry import Pacer, RetryPolicy, SystemPacer
from posterion_client.md._channels import RequestChannel
from posterion_client.md._connection import Endpoint
from posterion_client.md._frames import Outputs, Structures, flag_codes
from posterion_client.md._pin import Pin, Question
from posterion_client.md._session import MD_RETRY, Precision, periodic_directions
from posterion_client.md._steps import Steps

if TYPE_CHECKING:
    from typing_extensions import Self

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BatchEvaluation:
    """What the service says about several structures, as concatenated arrays.

    Attributes:
        energies: Shape ``(n_structures,)``, eV.
        forces: Of all atoms, shape ``(n_atoms, 3)``, eV/Angstrom.
        stress: Shape ``(n_structures, 3, 3)``, eV/Angstrom^3; None unless asked for.
        energy_epistemic: Standard deviations, shape ``(n_structures,)``, eV; NaN unless asked
            for, like the others.
        force_max: Largest epistemic standard deviation of an atom, ``(n_structures,)``.
        force_rms: Root mean square over the atoms, ``(n_structures,)``.
        force_epistemic: Of each atom, shape ``(n_atoms,)``, eV/Angstrom; None unless asked for.
        flags: Codes of the flags of each structure.
        failed: Whether a flag of each structure says: do not use; shape ``(n_structures,)``.
    """

    energies: FloatArray
    forces: FloatArray
    stress: FloatArray | None
    energy_epistemic: FloatArray
    force_max: FloatArray
    force_rms: FloatArray
    force_epistemic: FloatArray | None
    flags: tuple[tuple[str, ...], ...]
    failed: NDArray[np.bool_]


class BatchSession:
    """Energies and forces of any structures, step by step, by one sample set.

    Args:
        url: Address of the service; default as for `posterion_client.md.MDSession`.
        model: Model to ask; default is the service's.
        version: Version, digest or alias of the model.
        digest: Sample set that must answer.
        stress: Whether to ask for the stress of fully periodic structures.
        uncertainty: Whether to ask for standard deviations.
        precision: ``float64`` evaluates with the slower reference engine.
        n_samples: Evaluate only the first n samples.
        retry: How long a step is sent again; default is ten minutes.
        timeout_s: Longest silence while an answer is awaited, seconds.
        headers: Sent with every request, as for `posterion_client.Client`.
        pacer: Clock, sleep and chance of the retries; default is the machine's.
    """

    def __init__(  # noqa: PLR0913 - every setting is a keyword with a default
        self,
        *,
        url: str | None = None,
        model: str | None = None,
        version: str | None = None,
        digest: str | None = None,
        stress: bool = False,
        uncertainty: bool = True,
        precision: Precision = "float32",
        n_samples: int | None = None,
        retry: RetryPolicy | None = None,
        timeout_s: float = 60.0,
        headers: Mapping[str, str] | None = None,
        pacer: Pacer | None = None,
    ) -> None:
        self._pin = Pin(target=Target(model=model, version=version), digest=digest)
        question = Question(
            outputs=Outputs(stress, uncertainty),
            uncertainty_interval=1,
            precision=precision,
            n_samples=n_samples,
        )
        endpoint = Endpoint(
            url=resolve_url(url), headers=with_authorization(headers), timeout_s=timeout_s
        )
        self._channel = RequestChannel(endpoint, self._pin, question)
        self._steps = Steps(self._channel, retry or MD_RETRY, pacer or SystemPacer())

    @property
    def digest(self) -> str | None:
        """The sample set that answers; None before the first answer."""
        return self._pin.digest

    def evaluate(
        self,
        numbers: ArrayLike,
        positions: ArrayLike,
        sizes: ArrayLike,
        *,
        cells: ArrayLike | None = None,
        pbc: bool | Sequence[bool] = False,
    ) -> BatchEvaluation:
        """Ask about several structures in one request.

        Args:
            numbers: Atomic numbers of all atoms, shape ``(n_atoms,)``.
            positions: Of all atoms, shape ``(n_atoms, 3)``, Angstrom.
            sizes: Atoms of each structure, shape ``(n_structures,)``.
            cells: Shape ``(n_structures, 3, 3)``, rows are the lattice vectors, Angstrom.
            pbc: Periodic directions of all structures.

        Raises:
            InvalidArgument: If the shapes do not belong together.
            InvalidStructure: If a number is not finite.
            ModelChanged: If another sample set would answer.
            PosterionError: If the service cannot answer; ``index`` says about which structure.
        """
        asked = _structures(numbers, positions, sizes, cells, pbc)
        reply = self._steps.answer(asked)
        records = reply.records
        masks = zip(records["failed"].tolist(), records["candidate"].tolist(), strict=True)
        return BatchEvaluation(
            energies=records["energy"].copy(),
            forces=reply.forces,
            stress=reply.stress,
            energy_epistemic=records["energy_epistemic"].copy(),
            force_max=records["force_max"].copy(),
            force_rms=records["force_rms"].copy(),
            force_epistemic=reply.force_epistemic,
            flags=tuple(flag_codes(failed) + flag_codes(candidate) for failed, candidate in masks),
            failed=records["failed"] > 0,
        )

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _structures(
    numbers: ArrayLike,
    positions: ArrayLike,
    sizes: ArrayLike,
    cells: ArrayLike | None,
    pbc: bool | Sequence[bool],  # noqa: FBT001 - a setting of the caller, by its name there
) -> Structures:
    found = Structures(
        numbers=np.asarray(numbers, dtype=np.int64),
        positions=np.asarray(positions, dtype=np.float64),
        sizes=np.asarray(sizes, dtype=np.int64),
        cells=None if cells is None else np.asarray(cells, dtype=np.float64),
        pbc=periodic_directions(pbc),
    )
    n_atoms = len(found.numbers)
    fits = found.positions.shape == (n_atoms, 3) and int(found.sizes.sum()) == n_atoms
    if not fits or (found.sizes < 1).any():
        raise InvalidArgument(
            f"sizes must be positive and add up to the atoms, got {found.sizes.tolist()} for "
            f"{n_atoms} numbers and positions of shape {found.positions.shape}"
        )
    if any(found.pbc) and (found.cells is None or found.cells.shape != (len(found.sizes), 3, 3)):
        raise InvalidArgument(f"cells must have shape ({len(found.sizes)}, 3, 3)")
    bad = np.flatnonzero(~np.isfinite(found.positions).all(axis=1))
    if bad.size:
        atom = int(bad[0])
        structure = int(np.searchsorted(np.cumsum(found.sizes), atom, side="right"))
        detail = f"the position of atom {atom} is not finite: {found.positions[atom].tolist()}"
        raise InvalidStructure(detail, index=structure)
    return found
