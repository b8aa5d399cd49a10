"""Source of the kernels of a layer's gate, and of its reverse.

Arrays have shape ``(n_atoms, components * columns)``, as those of the convolution.
"""

from math import factorial, log

from posterion.inference.fused.kernel import Source
from posterion.network.frozen import LayerShape

_EXPONENT_BIAS = 127
_MANTISSA_BITS = 23
_LARGEST_EXPONENT = 126
"""Of a float32."""

_DEGREE = 7
"""Of the series of 2^f, |f| <= 1/2: the first term left out is 5e-9 of the sum."""


def write_sigmoid(source: Source, name: str, n_columns: int) -> None:
    """Kernel ``name(x, sigmoid)``, vector instructions throughout: exp is 2^n times a series."""
    source.define(name, "x", "sigmoid")
    largest = source.constant(float(_LARGEST_EXPONENT))
    with source.loop("i", "x.shape[0]"), source.loop("u", n_columns):
        source.line(f"y = {source.times(-1.0 / log(2.0), 'x[i, u]')}")
        source.line(f"y = min(max(y, -{largest}), {largest})")
        source.line(f"n = floor(y + {source.constant(0.5)})")
        source.line("f = y - n")
        *others, series = [
            source.constant(log(2.0) ** power / factorial(power)) for power in range(_DEGREE + 1)
        ]
        for value in reversed(others):
            series = f"({value} + f * {series})"
        source.line(
            f"bits = int32((int32(n) + int32({_EXPONENT_BIAS})) << int32({_MANTISSA_BITS}))"
        )
        source.line(f"sigmoid[i, u] = ONE / (ONE + {series} * bits.view(float32))")


def write_gate(source: Source, name: str, shape: LayerShape) -> None:
    """Kernel ``name(sums..., sigmoid, features...)``.

    ``sigmoid`` is that of the first sums; features are overwritten.
    """
    n, blocks = shape.n_features, range(len(shape.targets))
    source.define(name, *(f"o{t}" for t in blocks), "sigmoid", *(f"x{t}" for t in blocks))
    even, odd, gated = shape.scales
    with source.loop("i", "o0.shape[0]"):
        for target, (components, kind, first) in enumerate(_targets(shape)):
            value = f"o0[i, {first} + u] * sigmoid[i, {first} + u]"
            if kind == "odd":
                value = source.times(odd, f"tanh(o{target}[i, u])")
            elif kind == "even":
                value = source.times(even, value)
            else:
                value = source.times(gated, value)
            with source.loop("u", n):
                source.line(f"v = {value}")
                for c in range(components):
                    place = f"[i, {c * n} + u]"
                    own = f"v * o{target}{place}" if kind == "gated" else "v"
                    source.line(f"x{target}{place} = {own}")


def write_gate_back(source: Source, name: str, shape: LayerShape) -> None:
    """Kernel ``name(sums..., sigmoid, by_feature...)``.

    Overwrites the sums with the derivatives of the energy by them.
    """
    n, blocks = shape.n_features, range(len(shape.targets))
    source.define(name, *(f"o{t}" for t in blocks), "sigmoid", *(f"z{t}" for t in blocks))
    even, odd, gated = shape.scales
    with source.loop("i", "o0.shape[0]"):
        for target, (components, kind, first) in enumerate(_targets(shape)):
            with source.loop("u", n):
                if kind == "odd":
                    source.line(f"t = tanh(o{target}[i, u])")
                    product = source.times(odd, f"z{target}[i, u] * (ONE - t * t)")
                    source.line(f"o{target}[i, u] = {product}")
                    continue
                source.line(f"a = o0[i, {first} + u]")
                source.line(f"s = sigmoid[i, {first} + u]")
                source.line("told = z0[i, u]" if kind == "even" else "told = ZERO")
                if kind == "gated":
                    source.line(f"v = {source.times(gated, 'a * s')}")
                    for c in range(components):
                        place = f"[i, {c * n} + u]"
                        source.line(f"told += z{target}{place} * o{target}{place}")
                        source.line(f"o{target}{place} = v * z{target}{place}")
                product = source.times(
                    even if kind == "even" else gated, "told * s * (ONE + a * (ONE - s))"
                )
                source.line(f"o0[i, {first} + u] = {product}")


def _targets(shape: LayerShape) -> list[tuple[int, str, int]]:
    """Components and kind of every target, and the first column of its gate."""
    n_gates = 0
    told = []
    for components, kind in zip(shape.targets, shape.kinds, strict=True):
        n_gates += kind == "gated"
        told.append((components, kind, n_gates * shape.n_features if kind == "gated" else 0))
    return told
