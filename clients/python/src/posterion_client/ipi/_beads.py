"""Asks the service about beads, all of them in one request."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from posterion_client._errors import UnknownModel
from posterion_client._request import PredictOptions, Target
from posterion_client._results import Prediction, SampleOutputs
from posterion_client._structure import Structure
from posterion_client.ipi._settings import DriverSettings
from posterion_client.md import Evaluation, MDSession
from posterion_client.md._pin import Pin

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BeadAnswer:
    """What the service says about one bead, in eV and Angstrom.

    Attributes:
        energy: Mean over the samples.
        forces: Shape ``(n_atoms, 3)``.
        stress: Shape ``(3, 3)``, positive = tension; None unless fully periodic.
        energy_epistemic: Calibrated standard deviation of the energy.
        force_epistemic: Of each atom, shape ``(n_atoms,)``.
        force_max: The largest of them.
        candidate_flags: Codes of flags that say: worth a reference calculation.
        failed_flags: Codes of flags that say: do not use.
        samples: What each posterior sample says; None unless a committee was asked for.
    """

    energy: float
    forces: FloatArray
    stress: FloatArray | None
    energy_epistemic: float
    force_epistemic: FloatArray
    force_max: float
    candidate_flags: tuple[str, ...]
    failed_flags: tuple[str, ...]
    samples: SampleOutputs | None


class Beads(Protocol):
    """Evaluates the beads that i-PI hands over together."""

    def evaluate(self, positions: Sequence[FloatArray], cells: FloatArray) -> list[BeadAnswer]:
        """Ask about all of them in one request.

        Args:
            positions: One array of shape ``(n_atoms, 3)`` per bead, Angstrom.
            cells: Shape ``(n_beads, 3, 3)``, rows are the lattice vectors, Angstrom.

        Raises:
            PosterionError: If the service cannot answer, or another sample set would.
        """

    def close(self) -> None:
        """Hang up."""


class MeanBeads:
    """The mean over the samples; the way that costs least per step."""

    def __init__(self, settings: DriverSettings) -> None:
        """Keep the settings; a session is opened with the first step.

        Args:
            settings: Whom to ask, and what.
        """
        self._settings = settings
        self._sessions: dict[int, MDSession] = {}
        self._digest = settings.digest

    def evaluate(self, positions: Sequence[FloatArray], cells: FloatArray) -> list[BeadAnswer]:
        """Ask about all beads; see `Beads`."""
        session = self._session(len(positions))
        found = session.evaluate_images(np.stack(positions), cells)
        self._digest = session.digest
        return [_of_evaluation(evaluation) for evaluation in found]

    def close(self) -> None:
        """Hang up."""
        for session in self._sessions.values():
            session.close()

    def _session(self, n_beads: int) -> MDSession:
        """The session of so many images, held to the sample set of the others."""
        settings = self._settings
        if n_beads not in self._sessions:
            self._sessions[n_beads] = MDSession(
                settings.numbers,
                url=settings.url,
                model=settings.model,
                version=settings.version,
                digest=self._digest,
                pbc=settings.pbc,
                charge=settings.charge,
                spin_multiplicity=settings.spin_multiplicity,
                n_images=n_beads,
                precision=settings.precision,
                n_samples=settings.n_samples,
                transport=settings.transport,
                retry=settings.retry,
                timeout_s=settings.timeout_s,
            )
        return self._sessions[n_beads]


class CommitteeBeads:
    """The mean, and what each posterior sample says."""

    def __init__(self, settings: DriverSettings) -> None:
        """Open a client.

        Args:
            settings: Whom to ask, and what.
        """
        import httpx  # noqa: PLC0415 - the other way works without it

        from posterion_client._client import Client  # noqa: PLC0415 - needs httpx

        self._settings = settings
        timeout = httpx.Timeout(settings.timeout_s, connect=min(5.0, settings.timeout_s))
        self._client = Client(settings.url, retry=settings.retry, timeout=timeout)
        target = Target(model=settings.model, version=settings.version)
        self._pin = Pin(target=target, digest=settings.digest)
        self._options = PredictOptions(
            samples="full",
            stress=settings.fully_periodic,
            precision=settings.precision,
            n_samples=settings.n_samples,
        )

    def evaluate(self, positions: Sequence[FloatArray], cells: FloatArray) -> list[BeadAnswer]:
        """Ask about all beads; see `Beads`."""
        settings, asked = self._settings, self._pin.now()
        structures = [
            Structure(
                numbers=settings.numbers,
                positions=bead,
                cell=cell if any(settings.pbc) else None,
                pbc=settings.pbc,
                charge=settings.charge,
                spin_multiplicity=settings.spin_multiplicity,
            )
            for bead, cell in zip(positions, cells, strict=True)
        ]
        try:
            found = self._client.predict_many(
                structures,
                options=self._options,
                model=asked.model,
                version=asked.version,
                digest=self._pin.digest,
            )
        except UnknownModel as error:
            raise self._pin.lost(error) from error
        for prediction in found:
            self._pin.hold(prediction.model.name, prediction.model.digest)
        return [_of_prediction(prediction) for prediction in found]

    def close(self) -> None:
        """Hang up."""
        self._client.close()


def _of_evaluation(found: Evaluation) -> BeadAnswer:
    spread = found.uncertainty
    assert spread is not None
    return BeadAnswer(
        energy=found.energy,
        forces=found.forces,
        stress=found.stress,
        energy_epistemic=spread.energy_epistemic,
        force_epistemic=spread.force_epistemic,
        force_max=spread.force_max,
        candidate_flags=found.candidate_flags,
        failed_flags=found.failed_flags,
        samples=None,
    )


def _of_prediction(found: Prediction) -> BeadAnswer:
    spread = found.uncertainty
    assert spread is not None
    codes = {
        severity: tuple(flag.code for flag in found.flags if flag.severity == severity)
        for severity in ("candidate", "failed")
    }
    return BeadAnswer(
        energy=found.energy,
        forces=found.forces,
        stress=found.stress,
        energy_epistemic=spread.energy.epistemic,
        force_epistemic=np.sqrt((spread.forces.epistemic**2).mean(axis=1)),
        force_max=spread.forces.max,
        candidate_flags=codes["candidate"],
        failed_flags=codes["failed"],
        samples=spread.samples,
    )
