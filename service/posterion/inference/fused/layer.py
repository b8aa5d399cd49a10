"""The steps of one layer, and of its reverse."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import torch

from posterion.inference.coupling import AngularColumns, slots_of
from posterion.inference.fused.convolution import write_convolution, write_convolution_back
from posterion.inference.fused.gates import write_gate, write_gate_back, write_sigmoid
from posterion.inference.fused.kernel import Source
from posterion.inference.fused.program import ATOMS_AT_ONCE, Block, Matrix, Program
from posterion.network.frozen import LayerShape, LayerWeights

EDGE = ("angular", "first[start:stop + 1]", "neighbor", "knot", "weight")


class FusedLayer:
    """A layer whose features depend on positions: any but the first."""

    _is_first = False

    def __init__(
        self, program: Program, shape: LayerShape, weights: LayerWeights, angular: AngularColumns
    ) -> None:
        """Take up its weights.

        Args:
            program: What its steps are written to.
            shape: Of the layer.
            weights: Single precision.
            angular: Takes up the combinations of harmonics that it needs.
        """
        self._program, self._shape, self._angular = program, shape, angular
        n = shape.n_features
        self._radial = program.weight(weights.radial)
        self._mix_out = [program.weight(matrix) for matrix in weights.mix_out]
        self._mix_out_back = [program.weight(matrix.mT) for matrix in weights.mix_out]
        self._mixed = [program.lasting(size, n) for size in shape.sources]
        self._sums = [
            program.lasting(size, matrix.n_columns)
            for size, matrix in zip(shape.targets, self._mix_out, strict=True)
        ]
        self._sigmoid = program.lasting(1, self._sums[0].channels)
        self._messages = [
            (size, n_slots * n)
            for size, n_slots in zip(shape.targets, slots_of(shape), strict=True)
        ]
        self._take_up(weights)

    def _take_up(self, weights: LayerWeights) -> None:
        self._mix_in = [self._program.weight(matrix) for matrix in weights.mix_in]
        self._mix_in_back = [self._program.weight(matrix.mT) for matrix in weights.mix_in]
        self._inherit = {
            target: (source, self._program.weight(matrix), self._program.weight(matrix.mT))
            for target, row in enumerate(weights.inherit)
            for source, matrix in enumerate(row)
            if matrix is not None
        }

    def forward(self, features: Sequence[Block]) -> list[Block]:
        """Write the steps from the features that enter to those that leave.

        Args:
            features: Per source; ``backward`` writes the derivatives by them in their place.
        """
        self._features = features
        program = self._program
        for x, matrix, mixed in zip(features, self._mix_in, self._mixed, strict=True):
            program.multiply(x.rows(), matrix, mixed.rows(), add=False)
        for target, (source, matrix, _) in self._inherit.items():
            self._by_element(features[source], matrix, self._sums[target], add=False)
        return self._convolved(inherited=self._inherit)

    def backward(self, by_feature: Sequence[Block]) -> list[Block]:
        """Write the steps from derivatives by what left to those by what entered.

        Args:
            by_feature: Per target.
        """
        program = self._program
        by_mixed = program.scratch([(x.components, x.channels) for x in self._mixed])
        for z in by_mixed:
            program.clear(z.atoms())
        self._convolved_back(by_feature, by_mixed)
        for z, matrix, back in zip(by_mixed, self._mix_in_back, self._features, strict=True):
            program.multiply(z.rows(), matrix, back.rows(), add=False)
        for target, (source, _, matrix) in self._inherit.items():
            self._by_element(self._sums[target], matrix, self._features[source], add=True)
        return list(self._features)

    def _by_element(self, x: Block, matrix: Matrix, o: Block, *, add: bool) -> None:
        """Products with the matrix of every atom's element; atoms are ordered by it."""
        with self._program.body.loop("s", "spans.shape[0]"):
            at = ("spans[s, 0]", "spans[s, 1]")
            self._program.multiply(x.rows(*at), matrix, o.rows(*at), add=add, element="s")

    def _convolved(self, inherited: Collection[int]) -> list[Block]:
        """Sums of messages, mixed, and the gate."""
        program, shape = self._program, self._shape
        convolve = program.kernel(
            "convolve", shape, lambda to, name: write_convolution(to, name, shape, self._angular)
        )
        columns = self._sigmoid.channels
        sigmoid = program.kernel(
            "sigmoid", columns, lambda to, name: write_sigmoid(to, name, columns)
        )
        gate = program.kernel("gate", shape, lambda to, name: write_gate(to, name, shape))
        messages = program.batch(self._messages)
        features = [program.lasting(size, shape.n_features) for size in shape.targets]
        with _batches(program):
            program.call(
                convolve,
                *(x.atoms() for x in self._mixed),
                self._radial.text(),
                *EDGE,
                *(m.atoms("0", "size") for m in messages),
            )
            for target, (m, matrix, o) in enumerate(
                zip(messages, self._mix_out, self._sums, strict=True)
            ):
                program.multiply(
                    m.rows("0", "size"), matrix, o.rows("start", "stop"), add=target in inherited
                )
            sums = [o.atoms("start", "stop") for o in self._sums]
            own = self._sigmoid.atoms("start", "stop")
            program.call(sigmoid, sums[0], own)
            program.call(gate, *sums, own, *(x.atoms("start", "stop") for x in features))
        return features

    def _convolved_back(self, by_feature: Sequence[Block], by_mixed: Sequence[Block]) -> None:
        """Reverse of ``_convolved``: derivatives by the sums take their place."""
        program, shape = self._program, self._shape
        gate = program.kernel("gate_back", shape, lambda to, name: write_gate_back(to, name, shape))
        convolve = program.kernel(
            "convolve_back",
            (shape, self._is_first),
            lambda to, name: write_convolution_back(
                to, name, shape, self._angular, is_first=self._is_first
            ),
        )
        by_message = program.batch(self._messages)
        with _batches(program):
            program.call(
                gate,
                *(o.atoms("start", "stop") for o in self._sums),
                self._sigmoid.atoms("start", "stop"),
                *(z.atoms("start", "stop") for z in by_feature),
            )
            for o, matrix, y in zip(self._sums, self._mix_out_back, by_message, strict=True):
                program.multiply(o.rows("start", "stop"), matrix, y.rows("0", "size"), add=False)
            program.call(
                convolve,
                *(x.atoms() for x in self._mixed),
                self._radial.text(),
                *EDGE,
                "slope",
                *(y.atoms("0", "size") for y in by_message),
                *(z.atoms() for z in by_mixed),
                "by_harmonic",
                "by_distance",
            )


class FirstLayer(FusedLayer):
    """The first layer: what enters is known for each element before any structure is."""

    _is_first = True

    def __init__(
        self,
        program: Program,
        shape: LayerShape,
        weights: LayerWeights,
        angular: AngularColumns,
        embedding: torch.Tensor,
    ) -> None:
        self._embedding = embedding
        super().__init__(program, shape, weights, angular)

    def _take_up(self, weights: LayerWeights) -> None:
        self._mixed_rows = self._program.weight(torch.bmm(self._embedding, weights.mix_in[0]))
        self._own_rows = {
            target: self._program.weight(torch.matmul(self._embedding[:, :, None], matrix)[:, :, 0])
            for target, (matrix,) in enumerate(weights.inherit)
            if matrix is not None
        }

    def start(self) -> list[Block]:
        """Write the steps that ``forward`` has for other layers."""
        program = self._program
        look_up = program.kernel("look_up", None, _write_look_up)
        program.call(look_up, self._mixed_rows.text(), "species", self._mixed[0].atoms())
        for target, rows in self._own_rows.items():
            program.call(look_up, rows.text(), "species", self._sums[target].atoms())
        return self._convolved(inherited=self._own_rows)

    def finish(self, by_feature: Sequence[Block]) -> None:
        """Write the steps of the reverse, of which only derivatives by edges are left."""
        self._convolved_back(by_feature, [])


@contextmanager
def _batches(program: Program) -> Iterator[None]:
    """Repeat what follows for atoms ``start`` to ``stop``, ``size`` of them."""
    with program.body.span("start", 0, "n", ATOMS_AT_ONCE):
        program.body.line(f"stop = min(start + {ATOMS_AT_ONCE}, n)")
        program.body.line("size = stop - start")
        yield


def _write_look_up(source: Source, name: str) -> None:
    source.define(name, "table", "species", "o")
    with source.loop("i", "o.shape[0]"), source.loop("u", "o.shape[1]"):
        source.line("o[i, u] = table[species[i], u]")
