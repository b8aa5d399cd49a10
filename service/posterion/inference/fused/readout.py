"""The steps from the last features to atomic energies and noise, and the first ones back."""

from posterion.inference.fused.gates import write_sigmoid
from posterion.inference.fused.kernel import Source
from posterion.inference.fused.program import Block, Program
from posterion.network.frozen import ReadoutWeights


def read_out(program: Program, latent: Block, weights: ReadoutWeights) -> Block:
    """Write the steps that store energies and latent scalars.

    Args:
        program: What the steps are written to; it has ``energy``, ``latent`` and ``order``.
        latent: Scalars of the last layer.
        weights: Of the energy's readout, single precision.

    Returns:
        Derivatives of the energies by the latent scalars.
    """
    matrix, back = program.weight(weights.hidden), program.weight(weights.hidden.mT)
    out, offset = program.weight(weights.out), program.weight(weights.offset[:, None])
    n_hidden = matrix.n_columns
    hidden, sigmoid = program.lasting(1, n_hidden), program.lasting(1, n_hidden)
    store = program.kernel("store", None, _write_store)
    energy = program.kernel("energy", n_hidden, lambda to, name: _write_energy(to, name, n_hidden))
    program.call(store, latent.atoms(), "order", "latent[k]")
    program.multiply(latent.rows(), matrix, hidden.rows(), add=False)
    program.call(_activation(program, n_hidden), hidden.atoms(), sigmoid.atoms())
    program.call(
        energy, hidden.atoms(), sigmoid.atoms(), out.text(), offset.text(), "order", "energy[k]"
    )
    program.multiply(hidden.rows(), back, latent.rows(), add=False)
    return latent


def read_noise(program: Program, latent: Block, weights: ReadoutWeights) -> None:
    """Write the steps that store what the network says of its noise.

    Args:
        program: What the steps are written to; it has ``noise`` and ``order``.
        latent: Scalars of the last layer.
        weights: Of the noise's readout, single precision.
    """
    matrix, out = program.weight(weights.hidden), program.weight(weights.out)
    offset = program.weight(weights.offset[:, None])
    n_hidden = matrix.n_columns
    hidden, sigmoid = program.lasting(1, n_hidden), program.lasting(1, n_hidden)
    said = program.lasting(1, out.n_columns)
    program.multiply(latent.rows(), matrix, hidden.rows(), add=False)
    program.call(_activation(program, n_hidden), hidden.atoms(), sigmoid.atoms())
    program.call(program.kernel("scale", None, _write_scale), hidden.atoms(), sigmoid.atoms())
    program.multiply(hidden.rows(), out, said.rows(), add=False)
    store = program.kernel("store_noise", None, _write_store_noise)
    program.call(store, said.atoms(), offset.text(), "order", "noise[k]")


def _activation(program: Program, n_columns: int) -> str:
    return program.kernel("sigmoid", n_columns, lambda to, name: write_sigmoid(to, name, n_columns))


def _write_scale(source: Source, name: str) -> None:
    source.define(name, "x", "factor")
    with source.loop("i", "x.shape[0]"), source.loop("u", "x.shape[1]"):
        source.line("x[i, u] *= factor[i, u]")


def _write_store_noise(source: Source, name: str) -> None:
    source.define(name, "x", "offset", "order", "o")
    with source.loop("i", "x.shape[0]"), source.loop("u", "x.shape[1]"):
        source.line("o[order[i], u] = x[i, u] + offset[0, u]")


def _write_store(source: Source, name: str) -> None:
    source.define(name, "x", "order", "o")
    with source.loop("i", "x.shape[0]"), source.loop("u", "x.shape[1]"):
        source.line("o[order[i], u] = x[i, u]")


def _write_energy(source: Source, name: str, n_hidden: int) -> None:
    """Kernel ``name(hidden, sigmoid, out, offset, order, energy)``.

    Overwrites the hidden units with the derivatives of the energy by them.
    """
    source.define(name, "hidden", "sigmoid", "out", "offset", "order", "energy")
    with source.loop("i", "hidden.shape[0]"):
        source.line("total = offset[0, 0]")
        with source.loop("u", n_hidden):
            source.line("a, s = hidden[i, u], sigmoid[i, u]")
            source.line("total += a * s * out[u, 0]")
            source.line("hidden[i, u] = s * (ONE + a * (ONE - s)) * out[u, 0]")
        source.line("energy[order[i]] = total")
