"""Which network a sample set belongs to, and how its energies are referenced."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

AtomicNumber = Annotated[int, Field(ge=1, le=118)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
FiniteFloat = Annotated[float, Field(allow_inf_nan=False)]
NoiseKind = Literal["gaussian", "evidential"]
UnitKind = Literal["all", "readout", "hidden"]
"""Which units may be dropped: of layers and readouts, of readouts, or hidden ones of readouts."""


class NetworkConfig(BaseModel):
    """Architecture of a stochastic NequIP (Batzner et al., Nat. Commun. 13, 2453, 2022).

    Attributes:
        elements: Atomic numbers the network knows, ascending.
        cutoff: Edge length at which interactions end, Angstrom.
        n_layers: Interaction layers.
        n_features: Channels per degree l.
        l_max: Largest degree of features and of edge harmonics.
        parity: ``natural`` keeps features of parity (-1)^l, ``full`` keeps both; either way
            the network is equivariant under rotations and reflections.
        n_radial: Bessel functions.
        envelope_degree: p of the polynomial cutoff.
        radial_hidden: Width of the hidden layer of the radial network.
        readout_hidden: Width of the hidden layer of both readouts.
        average_neighbors: Mean neighbours per atom in the training data; normalises sums.
        noise_scale: s0, unit of the aleatoric force noise, eV/Angstrom.
        noise_readout: What the noise readout says of a force component: the logarithm of a
            Gaussian's standard deviation, or the evidence for a mean and a variance.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    elements: tuple[AtomicNumber, ...] = Field(min_length=1)
    cutoff: PositiveFloat
    n_layers: int = Field(default=3, ge=1, le=8)
    n_features: int = Field(default=16, ge=1, le=512)
    l_max: int = Field(default=2, ge=0, le=4)
    parity: Literal["natural", "full"] = "natural"
    n_radial: int = Field(default=8, ge=1, le=64)
    envelope_degree: int = Field(default=6, ge=2, le=20)
    radial_hidden: int = Field(default=64, ge=1, le=1024)
    readout_hidden: int = Field(default=16, ge=1, le=1024)
    average_neighbors: PositiveFloat = 8.0
    noise_scale: PositiveFloat = 0.1
    noise_readout: NoiseKind = "gaussian"

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if list(self.elements) != sorted(set(self.elements)):
            raise ValueError(
                f"elements must be ascending and unique, got {list(self.elements)}; "
                f"write {sorted(set(self.elements))}"
            )
        return self


class EnergyReference(BaseModel):
    """Constants that centre energies, fitted before training and kept in float64.

    Attributes:
        shifts: Energy per atom of each element, eV.
        scale: Energy and force scale of the network's output, eV and eV/Angstrom.
        energy_std_per_sqrt_atom: Aleatoric energy noise of one atom, eV; a structure's is
            this times sqrt(n_atoms).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shifts: dict[AtomicNumber, FiniteFloat]
    scale: PositiveFloat
    energy_std_per_sqrt_atom: PositiveFloat
