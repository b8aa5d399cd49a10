"""How the reply of a predict request becomes typed results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, get_args

from posterion_client._errors import InvalidReply, PosterionError
from posterion_client._fields import Node
from posterion_client._refusals import error_of_structure
from posterion_client._request import Indexed
from posterion_client._results import (
    EnergyUncertainty,
    Flag,
    ForcesUncertainty,
    GradientScalar,
    ModelIdentity,
    Prediction,
    SampleOutputs,
    Timing,
    Uncertainty,
    UncertaintyGradient,
)

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What all results of one reply share."""

    model: ModelIdentity
    timing: Timing | None
    request_id: str | None


def read_origin(document: Node, request_id: str | None) -> Origin:
    """Read which model answered, and check that it answered in eV and Angstrom."""
    units = document["units"]
    if (units["length"].text(), units["energy"].text()) != ("angstrom", "eV"):
        units.refuse("the units angstrom and eV that were asked for")
    timing = document.get("timing_ms")
    return Origin(
        model=_read_model(document["model"]),
        timing=_read_timing(timing) if timing else None,
        request_id=request_id,
    )


def read_results(
    document: Node, origin: Origin, asked: Sequence[Indexed]
) -> list[Prediction | PosterionError]:
    """Read one prediction or error per structure asked about, in the order of the request.

    Raises:
        InvalidReply: If a result is missing, out of order or not of its structure's shape.
    """
    return read_outcomes(
        document,
        origin,
        asked,
        lambda result, entry: _read_prediction(result, origin, entry.structure.n_atoms),
    )


def read_outcomes(
    document: Node,
    origin: Origin,
    asked: Sequence[Indexed],
    read: Callable[[Node, Indexed], Result],
) -> list[Result | PosterionError]:
    """Read one result or error per structure asked about, in the order of the request.

    Args:
        document: The reply.
        origin: What all its results share.
        asked: The structures.
        read: Reads the result of a structure without an error.

    Raises:
        InvalidReply: If a result is missing, out of order or not of its structure's shape.
    """
    results = document["results"].items()
    if len(results) != len(asked):
        raise InvalidReply(f"asked for {len(asked)} results, the reply holds {len(results)}")
    outcomes: list[Result | PosterionError] = []
    for place, (result, entry) in enumerate(zip(results, asked, strict=True)):
        if result["id"].text() != str(place):
            result["id"].refuse(f"the id {place!s} of the structure asked about")
        error = result.get("error")
        if error is None:
            outcomes.append(read(result, entry))
        else:
            outcomes.append(
                error_of_structure(error, index=entry.index, request_id=origin.request_id)
            )
    return outcomes


def _read_model(node: Node) -> ModelIdentity:
    deviation = node.get("engine_deviation")
    return ModelIdentity(
        name=node["name"].text(),
        version=node["version"].text(),
        digest=node["digest"].text(),
        n_samples=node["n_samples"].integer(),
        engine=node["engine"].text(),
        engine_deviation=None if deviation is None else deviation.number(),
    )


def _read_timing(node: Node) -> Timing:
    return Timing(
        queue_ms=node["queue"].number(),
        graph_ms=node["graph"].number(),
        evaluate_ms=node["evaluate"].number(),
        total_ms=node["total"].number(),
    )


def _read_prediction(node: Node, origin: Origin, n_atoms: int) -> Prediction:
    stress = node.get("stress")
    uncertainty, gradient = node.get("uncertainty"), node.get("uncertainty_gradient")
    flags = tuple(_read_flag(flag) for flag in node["flags"].items())
    status = "flagged" if flags else "ok"
    if node["status"].text() != status:
        node["status"].refuse(f"{status!r} with {len(flags)} flags and no error")
    n_samples = node.get("n_samples")
    return Prediction(
        energy=node["energy"].number(),
        forces=node["forces"].array(n_atoms, 3),
        stress=stress.array(3, 3) if stress else None,
        uncertainty=_read_uncertainty(uncertainty, n_atoms) if uncertainty else None,
        flags=flags,
        status="flagged" if flags else "ok",
        n_samples=origin.model.n_samples if n_samples is None else n_samples.integer(),
        model=origin.model,
        timing=origin.timing,
        request_id=origin.request_id,
        uncertainty_gradient=_read_gradient(gradient, n_atoms) if gradient else None,
    )


def _read_uncertainty(node: Node, n_atoms: int) -> Uncertainty:
    if node["kind"].text() != "std":
        node["kind"].refuse("'std', standard deviations")
    samples = node.get("samples")
    energy, forces = node["energy"], node["forces"]
    return Uncertainty(
        calibrated=node["calibrated"].boolean(),
        energy=EnergyUncertainty(
            epistemic=energy["epistemic"].number(),
            aleatoric=energy["aleatoric"].number(),
            total=energy["total"].number(),
        ),
        forces=ForcesUncertainty(
            epistemic=forces["epistemic"].array(n_atoms, 3),
            aleatoric=forces["aleatoric"].array(n_atoms),
            total=forces["total"].array(n_atoms, 3),
            max=forces["max"].number(),
            rms=forces["rms"].number(),
            argmax_atom=forces["argmax_atom"].integer(),
        ),
        samples=_read_samples(samples, n_atoms) if samples else None,
    )


def _read_gradient(node: Node, n_atoms: int) -> UncertaintyGradient:
    known: tuple[GradientScalar, ...] = get_args(GradientScalar)
    of = next((each for each in known if each == node["of"].text()), None)
    if of is None:
        node["of"].refuse(f"one of {', '.join(known)}")
    cell = node.get("cell")
    return UncertaintyGradient(
        of=of,
        value=node["value"].number(),
        unit=node["unit"].text(),
        positions=node["positions"].array(n_atoms, 3),
        cell=cell.array(3, 3) if cell else None,
    )


def _read_samples(node: Node, n_atoms: int) -> SampleOutputs:
    energies = node["energies"].array(None)
    forces, stress = node.get("forces"), node.get("stress")
    return SampleOutputs(
        energies=energies,
        forces=forces.array(len(energies), n_atoms, 3) if forces else None,
        stress=stress.array(len(energies), 3, 3) if stress else None,
    )


def _read_flag(node: Node) -> Flag:
    coverage, calibration_id = node.get("coverage"), node.get("calibration_id")
    return Flag(
        code=node["code"].text(),
        severity=node["severity"].text(),
        atoms=tuple(atom.integer() for atom in node["atoms"].items()),
        metric=node["metric"].text(),
        value=node["value"].number(),
        threshold=node["threshold"].number(),
        unit=node["unit"].text(),
        threshold_source=node["threshold_source"].text(),
        coverage=coverage.number() if coverage else None,
        calibration_id=calibration_id.text() if calibration_id else None,
    )
