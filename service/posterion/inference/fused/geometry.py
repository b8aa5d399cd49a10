"""Source of the kernels between positions and edges: harmonics, splines, and forces."""

from collections.abc import Sequence

from posterion.inference.coupling import AngularColumns
from posterion.inference.fused.kernel import Source
from posterion.network.frozen import N_INTERVALS
from posterion.network.harmonics import Polynomial
from posterion.network.spline import weight_polynomials

AXES = ("x", "y", "z")


def arrange_source() -> str:
    """Kernel that orders atoms by element and edges by centre, both otherwise as they come.

    ``arrange(batch_species, batch_structure, edge_index, batch_vectors, order, species, spans,
    structure, first, neighbor, vectors)``: what begins with batch and ``edge_index`` is in the
    order of the batch; ``spans`` and ``first`` are zero, the others are overwritten. See
    `posterion.inference.fused.edges.Edges`.
    """
    source = Source()
    source.define(
        "arrange",
        *("batch_species", "batch_structure", "edge_index", "batch_vectors"),
        *("order", "species", "spans", "structure", "first", "neighbor", "vectors"),
    )
    source.line("n, m = order.shape[0], neighbor.shape[0]")
    with source.loop("i", "n"):
        source.line("spans[batch_species[i], 1] += 1")
    with source.span("s", 1, "spans.shape[0]"):
        source.line("spans[s, 0] = spans[s - 1, 1]")
        source.line("spans[s, 1] += spans[s, 0]")
    source.line("place = empty(n, int64)")
    source.line("free = spans[:, 0].copy()")
    with source.loop("i", "n"):
        source.line("s = batch_species[i]")
        source.line("p = free[s]")
        source.line("free[s] += 1")
        source.line("place[i], order[p], species[p], structure[p] = p, i, s, batch_structure[i]")
    with source.loop("e", "m"):
        source.line("first[place[edge_index[0, e]] + 1] += 1")
    with source.loop("i", "n"):
        source.line("first[i + 1] += first[i]")
    source.line("free = first[:n].copy()")
    with source.loop("e", "m"):
        source.line("i = place[edge_index[0, e]]")
        source.line("p = free[i]")
        source.line("free[i] += 1")
        source.line("neighbor[p] = place[edge_index[1, e]]")
        with source.loop("a", 3):
            source.line("vectors[p, a] = batch_vectors[e, a]")
    return source.text


def edges_source(harmonics: tuple[Polynomial, ...], angular: AngularColumns) -> str:
    """Kernel ``describe(vectors, density, jacobian, unit, angular, knot, weight, slope)``.

    From vectors, ``(n_edges, 3)``, and knots per Angstrom to: derivatives of the harmonics,
    ``(n_edges, n_harmonics, 3)``; unit vectors, ``(n_edges, 3)``; angular columns; interval
    of the radial table; weights of its coefficients for the value, and for its derivative.
    """
    source = Source()
    source.define(
        "describe",
        *("vectors", "density", "jacobian", "unit", "angular", "knot", "weight", "slope"),
    )
    source.line(f"harmonic = empty({len(harmonics)}, float64)")
    degree = max(sum(powers) for one in harmonics for powers, _ in one)
    with source.loop("e", "vectors.shape[0]"):
        for place, axis in enumerate(AXES):
            source.line(f"{axis} = float64(vectors[e, {place}])")
        source.line("distance = sqrt(x * x + y * y + z * z)")
        for axis in AXES:
            source.line(f"{axis}1 = {axis} / distance")
            for power in range(2, degree + 1):
                source.line(f"{axis}{power} = {axis}{power - 1} * {axis}1")
        for place, axis in enumerate(AXES):
            source.line(f"unit[e, {place}] = {axis}1")
        for number, polynomial in enumerate(harmonics):
            source.line(f"harmonic[{number}] = {_value(polynomial)}")
            own = [_value(_derivative(polynomial, axis)) for axis in range(3)]
            source.line(f"dx, dy, dz = {', '.join(own)}")
            source.line("along = dx * x1 + dy * y1 + dz * z1")
            for place, axis in enumerate(AXES):
                source.line(
                    f"jacobian[e, {number}, {place}] = (d{axis} - along * {axis}1) / distance"
                )
        for column, combination in enumerate(angular.combinations):
            terms = [f"{value!r} * harmonic[{number}]" for number, value in combination]
            source.line(f"angular[e, {column}] = {' + '.join(terms)}")
        _spline(source)
    return source.text


def _spline(source: Source) -> None:
    """As `posterion.network.spline`, and the derivative by the distance."""
    source.line("place = distance * density")
    source.line(f"q = min(max(int(place), 0), {N_INTERVALS - 1})")
    source.line("t = place - q")
    source.line("knot[e] = q")
    for row, polynomial in enumerate(weight_polynomials()):
        slope = [power * value for power, value in enumerate(polynomial)][1:]
        source.line(f"weight[e, {row}] = {_horner(polynomial)}")
        source.line(f"slope[e, {row}] = density * ({_horner(slope)})")


def _horner(polynomial: Sequence[float]) -> str:
    *others, text = [repr(float(value)) for value in polynomial]
    for value in reversed(others):
        text = f"({value} + t * {text})"
    return text


def _value(polynomial: Polynomial) -> str:
    terms = [
        " * ".join(
            [repr(value), *(f"{axis}{n}" for axis, n in zip(AXES, powers, strict=True) if n)]
        )
        for powers, value in polynomial
    ]
    return " + ".join(terms) or "0.0"


def _derivative(polynomial: Polynomial, axis: int) -> Polynomial:
    return tuple(
        (tuple(n - (place == axis) for place, n in enumerate(powers)), value * powers[axis])
        for powers, value in polynomial
        if powers[axis]
    )


def write_forces(source: Source, name: str, n_harmonics: int) -> None:
    """Kernel that turns derivatives by edges into forces.

    ``name(by_harmonic, by_distance, jacobian, unit, vectors, first, neighbor, order, structure,
    forces, strain)`` adds to forces, ``(n_atoms, 3)``, in the order of the batch, and to
    derivatives by the strain of every structure, ``(n_structures, 3, 3)``, not symmetric.
    """
    source.define(
        name,
        *("by_harmonic", "by_distance", "jacobian", "unit", "vectors", "first", "neighbor"),
        *("order", "structure", "forces", "strain"),
    )
    with source.loop("i", "first.shape[0] - 1"):
        source.line("centre, here = order[i], structure[i]")
        with source.span("e", "first[i]", "first[i + 1]"):
            source.line("other = order[neighbor[e]]")
            for a in range(3):
                terms = [f"by_distance[e, 0] * unit[e, {a}]"]
                terms += [
                    f"by_harmonic[e, {c}] * jacobian[e, {c}, {a}]" for c in range(1, n_harmonics)
                ]
                source.line(f"pull = {' + '.join(terms)}")
                source.line(f"forces[centre, {a}] += pull")
                source.line(f"forces[other, {a}] -= pull")
                with source.loop("b", 3):
                    source.line(f"strain[here, b, {a}] += vectors[e, b] * pull")
