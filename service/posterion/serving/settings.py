"""What an operator may choose about a service."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from posterion.api.settings import ApiSettings
from posterion.bundled import BUNDLED_BANKS, bundled_store
from posterion.serving.formation import Cost
from posterion_store import InvalidName
from posterion_store.names import DEFAULT_ALIAS, check_alias, check_name

Device = Literal["auto", "cpu", "cuda"]
Engine = Literal["auto", "triton"]
Ingress = Literal["haproxy", "ray"]

CPU_BATCH = Cost(edges=65_536, atoms=65_536)
CUDA_BATCH = Cost(edges=262_144, atoms=262_144)


def _check_bank(text: str) -> str:
    name, separator, alias = text.partition("@")
    try:
        check_name(name)
        if separator:
            check_alias(alias)
    except InvalidName as error:
        expected = "expected NAME or NAME@ALIAS, e.g. ethanol@stable"
        raise ValueError(f"{expected}, got {text!r}: {error.detail}") from error
    return text


Bank = Annotated[str, AfterValidator(_check_bank)]
Port = Annotated[int, Field(ge=0, le=65535)]


class ServeSettings(BaseModel):
    """One service: where it listens, what it serves and how much it takes.

    Attributes:
        host: Address of the HTTP port; everything else stays on loopback.
        port: HTTP port; 0 takes a free one.
        store: URL or path of the model store.
        banks: What to serve, each ``NAME`` or ``NAME@ALIAS`` (default alias ``stable``);
            the first is the default model. Empty serves every bank that has a ``stable``
            version, in the order of their names; of the bundled store, ``ethanol`` first.
        in_process: One process under uvicorn instead of Ray Serve.
        replicas: Number of replicas, each with its own copy of the banks; Ray Serve only.
        device: ``auto`` takes a GPU where there is one.
        engine: For single precision. ``auto`` takes the fastest that is known to work on the
            device; ``triton`` needs a GPU and the extra ``gpu``, and no GPU has run it yet.
        n_cpus: Threads that one replica computes with.
        gpus_per_replica: Fraction of a GPU that one replica takes; ignored on the CPU.
        ingress: What accepts connections in front of the replicas; Ray Serve only.
        batch_edges: Most edges times samples in one batch; None = by device.
        batch_atoms: Most atoms times samples in one batch; None = by device.
        max_batch_seconds: Predicted time up to which a batch grows; never less than four times
            what a batch takes whatever is in it.
        max_queued_structures: Structures being served at once, waiting ones included.
        n_old_versions: Versions besides the served ones that stay in memory.
        poll_interval_s: How often the store is asked for a moved alias.
        stall_timeout_s: A device without progress for so long is declared stuck; a costly
            batch is given more.
        header_timeout_s: Seconds within which the headers of a request must arrive; without
            effect with ingress ``ray``.
        drain_timeout_s: How long running requests may take to finish at shutdown.
        startup_timeout_s: How long the service may take to become ready, the start of the
            Ray cluster included; Ray Serve only.
        temp_dir: Directory for sockets and logs of Ray; None = the system's.
        api: Limits of the API.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: Port = 8000
    store: str = Field(default_factory=bundled_store, min_length=1)
    banks: tuple[Bank, ...] = ()
    in_process: bool = False
    replicas: PositiveInt = 1
    device: Device = "auto"
    engine: Engine = "auto"
    n_cpus: PositiveInt = 1
    gpus_per_replica: float = Field(default=1.0, gt=0.0)
    ingress: Ingress = "haproxy"
    batch_edges: PositiveInt | None = None
    batch_atoms: PositiveInt | None = None
    max_batch_seconds: PositiveFloat = 0.25
    max_queued_structures: PositiveInt = 4096
    n_old_versions: int = Field(default=2, ge=0)
    poll_interval_s: PositiveFloat = 1.0
    stall_timeout_s: PositiveFloat = 120.0
    header_timeout_s: float = Field(default=10.0, ge=0.1, le=300.0)
    drain_timeout_s: float = Field(default=12.0, ge=0.0, le=15.0)
    startup_timeout_s: PositiveFloat = 180.0
    temp_dir: Path | None = None
    api: ApiSettings = ApiSettings()

    @model_validator(mode="after")
    def _banks_are_distinct(self) -> Self:
        names = [name for name, _ in self.selections]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"each bank may be served once: {twice[0]!r} is named twice")
        return self

    @model_validator(mode="before")
    @classmethod
    def _bundled_order(cls, given: object) -> object:
        if not isinstance(given, dict) or given.get("banks"):
            return given
        if given.get("store", bundled_store()) != bundled_store():
            return given
        return {**given, "banks": BUNDLED_BANKS}

    @property
    def selections(self) -> tuple[tuple[str, str], ...]:
        """Name and alias of every bank that was named."""
        return tuple(
            (name, alias or DEFAULT_ALIAS)
            for name, _, alias in (text.partition("@") for text in self.banks)
        )

    def batch_bounds(self, device: Literal["cpu", "cuda"]) -> Cost:
        """What one batch may cost on ``device``."""
        default = CPU_BATCH if device == "cpu" else CUDA_BATCH
        return Cost(
            edges=self.batch_edges or default.edges, atoms=self.batch_atoms or default.atoms
        )
