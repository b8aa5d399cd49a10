"""Source of the kernels of a layer's gate, and of its reverse.

Arrays have shape ``(K, n_atoms, components * columns)``, as the kernels of the convolution.
"""

from posterion.inference.fused.kernel import Source
from posterion.network.frozen import LayerShape


def gate_source(shape: LayerShape) -> str:
    """Kernel ``gate(sums..., sigmoid, features...)``.

    ``sigmoid`` is that of the first sums; features are overwritten.
    """
    source, n = Source(), shape.n_features
    blocks = range(len(shape.targets))
    source.define("gate", *(f"o{t}" for t in blocks), "sigmoid", *(f"x{t}" for t in blocks))
    even, odd, gated = shape.scales
    with source.loop("k", "o0.shape[0]"), source.loop("i", "o0.shape[1]"):
        for target, (components, kind, first) in enumerate(_targets(shape)):
            value = f"o0[k, i, {first} + u] * sigmoid[k, i, {first} + u]"
            if kind == "odd":
                value = source.times(odd, f"tanh(o{target}[k, i, u])")
            elif kind == "even":
                value = source.times(even, value)
            else:
                value = source.times(gated, value)
            with source.loop("u", n):
                source.line(f"v = {value}")
                for c in range(components):
                    place = f"[k, i, {c * n} + u]"
                    own = f"v * o{target}{place}" if kind == "gated" else "v"
                    source.line(f"x{target}{place} = {own}")
    return source.text


def gate_back_source(shape: LayerShape) -> str:
    """Kernel ``gate_back(sums..., sigmoid, by_feature...)``.

    Overwrites the sums with the derivatives of the energy by them.
    """
    source, n = Source(), shape.n_features
    blocks = range(len(shape.targets))
    source.define("gate_back", *(f"o{t}" for t in blocks), "sigmoid", *(f"z{t}" for t in blocks))
    even, odd, gated = shape.scales
    with source.loop("k", "o0.shape[0]"), source.loop("i", "o0.shape[1]"):
        for target, (components, kind, first) in enumerate(_targets(shape)):
            with source.loop("u", n):
                if kind == "odd":
                    source.line(f"t = tanh(o{target}[k, i, u])")
                    product = source.times(odd, f"z{target}[k, i, u] * (ONE - t * t)")
                    source.line(f"o{target}[k, i, u] = {product}")
                    continue
                source.line(f"a = o0[k, i, {first} + u]")
                source.line(f"s = sigmoid[k, i, {first} + u]")
                source.line("told = z0[k, i, u]" if kind == "even" else "told = ZERO")
                if kind == "gated":
                    source.line(f"v = {source.times(gated, 'a * s')}")
                    for c in range(components):
                        place = f"[k, i, {c * n} + u]"
                        source.line(f"told += z{target}{place} * o{target}{place}")
                        source.line(f"o{target}{place} = v * z{target}{place}")
                product = source.times(
                    even if kind == "even" else gated, "told * s * (ONE + a * (ONE - s))"
                )
                source.line(f"o0[k, i, {first} + u] = {product}")
    return source.text


def _targets(shape: LayerShape) -> list[tuple[int, str, int]]:
    """Components and kind of every target, and the first column of its gate."""
    n_gates = 0
    told = []
    for components, kind in zip(shape.targets, shape.kinds, strict=True):
        n_gates += kind == "gated"
        told.append((components, kind, n_gates * shape.n_features if kind == "gated" else 0))
    return told
