"""Source of the kernels of a layer's gate, and of its reverse."""

from posterion.inference.fused.source import Source
from posterion.network.frozen import LayerShape


def gate_source(shape: LayerShape) -> str:
    """Kernel ``gate(sums..., sigmoid, features...)``.

    Sums have shape ``(K, n_atoms, components, n_columns)``; ``sigmoid`` is that of sums 0;
    features ``(K, n_atoms, components, U)`` are overwritten.
    """
    source = Source()
    n = shape.n_features
    names = range(len(shape.targets))
    source.define("gate", *(f"o{t}" for t in names), "sigmoid", *(f"x{t}" for t in names))
    even, odd, gated = shape.scales
    with source.loop("k", "o0.shape[0]"), source.loop("i", "o0.shape[1]"):
        for target, (components, kind, first) in enumerate(_targets(shape)):
            if kind == "gated":
                with source.loop("c", components), source.loop("u", n):
                    value = f"o0[k, i, 0, {first} + u] * sigmoid[k, i, 0, {first} + u]"
                    product = f"o{target}[k, i, c, u] * {value}"
                    source.line(f"x{target}[k, i, c, u] = {source.times(gated, product)}")
            elif kind == "even":
                with source.loop("u", n):
                    value = "o0[k, i, 0, u] * sigmoid[k, i, 0, u]"
                    source.line(f"x{target}[k, i, 0, u] = {source.times(even, value)}")
            else:
                with source.loop("u", n):
                    value = f"tanh(o{target}[k, i, 0, u])"
                    source.line(f"x{target}[k, i, 0, u] = {source.times(odd, value)}")
    return source.text


def gate_back_source(shape: LayerShape) -> str:
    """Kernel ``gate_back(sums..., sigmoid, by_feature...)``.

    Overwrites the sums with the derivatives of the energy by them.
    """
    source = Source()
    n = shape.n_features
    names = range(len(shape.targets))
    source.define("gate_back", *(f"o{t}" for t in names), "sigmoid", *(f"z{t}" for t in names))
    source.line(f"told = empty({n}, float32)")
    even, odd, gated = shape.scales
    with source.loop("k", "o0.shape[0]"), source.loop("i", "o0.shape[1]"):
        for target, (components, kind, first) in enumerate(_targets(shape)):
            if kind == "gated":
                with source.loop("u", n):
                    source.line("told[u] = ZERO")
                with source.loop("c", components), source.loop("u", n):
                    source.line(f"told[u] += z{target}[k, i, c, u] * o{target}[k, i, c, u]")
                    value = f"o0[k, i, 0, {first} + u] * sigmoid[k, i, 0, {first} + u]"
                    product = f"z{target}[k, i, c, u] * {value}"
                    source.line(f"o{target}[k, i, c, u] = {source.times(gated, product)}")
                with source.loop("u", n):
                    _silu_back(source, "told[u]", first, gated)
            elif kind == "odd":
                with source.loop("u", n):
                    source.line(f"t = tanh(o{target}[k, i, 0, u])")
                    product = f"z{target}[k, i, 0, u] * (ONE - t * t)"
                    source.line(f"o{target}[k, i, 0, u] = {source.times(odd, product)}")
        with source.loop("u", n):
            _silu_back(source, "z0[k, i, 0, u]", 0, even)
    return source.text


def _targets(shape: LayerShape) -> list[tuple[int, str, int]]:
    """Components and kind of every target, and the first column of its gate."""
    gates = 0
    told = []
    for components, kind in zip(shape.targets, shape.kinds, strict=True):
        gates += kind == "gated"
        told.append((components, kind, gates * shape.n_features))
    return told


def _silu_back(source: Source, by_output: str, first: int, scale: float) -> None:
    source.line(f"a = o0[k, i, 0, {first} + u]")
    source.line(f"s = sigmoid[k, i, 0, {first} + u]")
    product = f"{by_output} * s * (ONE + a * (ONE - s))"
    source.line(f"o0[k, i, 0, {first} + u] = {source.times(scale, product)}")
