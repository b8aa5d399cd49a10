"""Compile the kernels of a layer of 32 channels, l = 2, for an H100; prints their names."""

from importlib import import_module

import torch

from posterion.inference.coupling import AngularColumns
from posterion.inference.device_kernels.kernel import EDGES_PER_STEP
from posterion.inference.device_kernels.layer import DeviceLayer
from posterion.network.config import EnergyReference, NetworkConfig
from posterion.network.freezing import freeze
from posterion.network.functional import NetworkFunction

WHOLE = ("n_atoms", "n_edges", "n_rows", "n_columns")
INDICES = ("first", "arriving", "centre", "neighbor", "knot")
SIZES = {"U": 32, "LANES": 32, "STEP": EDGES_PER_STEP}
HOPPER = 90


def kind(name: str) -> str:
    """Type of an argument."""
    if name in SIZES:
        return "constexpr"
    return "i32" if name in WHOLE else "*i64" if name in INDICES else "*fp32"


def main() -> None:
    """Compile, or fail with what the compiler says."""
    config = NetworkConfig(elements=(1, 8), cutoff=4.0, n_features=32, l_max=2, n_layers=2)
    nothing = EnergyReference(shifts={1: 0.0, 8: 0.0}, scale=1.0, energy_std_per_sqrt_atom=0.1)
    function = NetworkFunction(config, nothing, dtype=torch.float64, device="cpu")
    frozen = freeze(config, function.initial_parameters(torch.Generator())[None])
    layer = DeviceLayer(frozen.shapes[1], AngularColumns(), n_harmonics=len(frozen.harmonics))
    compiler = import_module("triton.compiler")
    target = import_module("triton.backends.compiler").GPUTarget("cuda", HOPPER, 32)
    for kernel in (layer.convolve, layer.features_back, layer.edges_back):
        function_ = kernel.function
        signature = {name: kind(name) for name in function_.arg_names}
        source = compiler.ASTSource(fn=function_, signature=signature, constexprs=SIZES)
        assert compiler.compile(source, target=target).asm["cubin"]
        print(function_.__name__)


if __name__ == "__main__":
    main()
