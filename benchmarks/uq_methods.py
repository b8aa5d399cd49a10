"""Which methods are compared, and how each spends the same number of minibatch gradients.

``budget`` is the number of minibatch gradients over all members. A method with M members
gives each budget / M, so that every row of a table cost the same training, except rows whose
``cost`` says otherwise: an ensemble whose every member has the whole budget is no strawman.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from pydantic import JsonValue

N_SAMPLES: Final = 8
"""Networks that are evaluated for an answer: the cost of inference, equal for all banks."""

N_ESTIMATION: Final = 100
N_ROUNDS: Final = 2
N_RAMP: Final = 200
PRETRAINING: Final = 0.6
RESTART: Final = 0.5
LATE: Final = 0.85
LATE_BURN_IN: Final = 0.02
BURN_IN: Final = 0.15
"""Shares of a chain's gradients, of its own if it starts from a trunk; what is left is
sampling."""
LEARNING_RATE: Final = 0.01
RESTART_RATE: Final = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One row of the table.

    Attributes:
        title: Name in tables.
        kind: ``kind`` of the method section.
        members: Independent chains or networks.
        cost: Multiple of the budget that training uses.
        settings: Further entries of the method section.
        chain: Whether members are Markov chains, whose phases share the gradients.
        training: Name of a training that several rows share, since the networks they optimise
            are the same; None = its own.
        trunk: Share of the budget for one network that all members start from; they restart
            the optimiser, each with its own order of minibatches, and part.
        late: Whether sampling begins late, after 85 % of the gradients.
        widened: Whether the latent density widens the forces' uncertainty beyond training.
    """

    title: str
    kind: str
    members: int = 1
    cost: int = 1
    settings: Mapping[str, JsonValue] = field(default_factory=dict)
    chain: bool = False
    training: str | None = None
    trunk: float = 0.0
    late: bool = False
    widened: bool = False


ONE_NETWORK: Final = "one-network"
COLD: Final = 0.1
COLDER: Final = 0.01
TRUNK: Final = 0.4
HOT: Final = 3.0

PLAIN: Final[Mapping[str, Contender]] = {
    "mean-variance": Contender(
        title="single network, mean and variance", kind="mean-variance", training=ONE_NETWORK
    ),
    "mc-dropout": Contender(
        title="MC dropout of hidden units, p = 0.1",
        kind="mc-dropout",
        settings={"n_samples": N_SAMPLES, "units": "hidden"},
    ),
    "mc-dropout-all": Contender(
        title="MC dropout of every unit, p = 0.1",
        kind="mc-dropout",
        settings={"n_samples": N_SAMPLES},
    ),
    "evidential": Contender(title="evidential regression", kind="evidential"),
    "latent-mixture": Contender(
        title="latent Gaussian mixture", kind="latent-mixture", training=ONE_NETWORK
    ),
    "last-layer-laplace": Contender(
        title="last-layer Laplace",
        kind="last-layer-laplace",
        settings={"n_samples": N_SAMPLES},
        training=ONE_NETWORK,
    ),
    "deep-ensemble-4": Contender(title="deep ensemble of 4", kind="deep-ensemble", members=4),
    "deep-ensemble-8": Contender(title="deep ensemble of 8", kind="deep-ensemble", members=8),
    "deep-ensemble-4-full": Contender(
        title="deep ensemble of 4, each with the whole budget",
        kind="deep-ensemble",
        members=4,
        cost=4,
        training=ONE_NETWORK,
    ),
    "sghmc-1": Contender(title="SGHMC, 1 chain", kind="sghmc", chain=True),
    "sghmc-2": Contender(title="SGHMC, 2 chains", kind="sghmc", members=2, chain=True),
    "sghmc-4": Contender(title="SGHMC, 4 chains", kind="sghmc", members=4, chain=True),
    "sghmc-1-amsgrad": Contender(
        title="SGHMC, 1 chain, the source paper's preconditioner",
        kind="sghmc",
        settings={"preconditioner": {"kind": "amsgrad"}},
        chain=True,
    ),
    "sghmc-1-cold": Contender(
        title=f"SGHMC, 1 chain, T = {COLD}",
        kind="sghmc",
        settings={"temperature": COLD},
        chain=True,
    ),
    "sghmc-4-cold": Contender(
        title=f"SGHMC, 4 chains, T = {COLD}",
        kind="sghmc",
        members=4,
        settings={"temperature": COLD},
        chain=True,
    ),
    "sghmc-4-colder": Contender(
        title=f"SGHMC, 4 chains, T = {COLDER}",
        kind="sghmc",
        members=4,
        settings={"temperature": COLDER},
        chain=True,
    ),
    "sghmc-1-late": Contender(
        title="SGHMC, 1 chain, begun late", kind="sghmc", chain=True, late=True
    ),
    "sghmc-1-late-cold": Contender(
        title=f"SGHMC, 1 chain, begun late, T = {COLD}",
        kind="sghmc",
        settings={"temperature": COLD},
        chain=True,
        late=True,
    ),
    "sghmc-4-trunk": Contender(
        title=f"SGHMC, 4 chains from one trunk, T = {COLD}",
        kind="sghmc",
        members=4,
        settings={"temperature": COLD},
        chain=True,
        trunk=TRUNK,
    ),
    "ensemble-4-trunk": Contender(
        title="ensemble of 4 from one trunk", kind="deep-ensemble", members=4, trunk=TRUNK
    ),
    "sghmc-1-cyclical": Contender(
        title="SGHMC, 1 chain, cyclical",
        kind="sghmc",
        settings={"schedule": {"kind": "cyclical", "exploration_temperature": 0.0}},
        chain=True,
    ),
    "sghmc-1-tempered": Contender(
        title=f"SGHMC, 1 chain, T = {COLD}, exploring at {HOT} between draws",
        kind="sghmc",
        settings={
            "temperature": COLD,
            "schedule": {"kind": "cyclical", "exploration_temperature": HOT},
        },
        chain=True,
    ),
}

ONE_SEED_CONTENDERS: Final = ("sghmc-4", "deep-ensemble-4", "latent-mixture")
"""On the tasks of one seed."""


def _widened(name: str) -> Contender:
    """The same training, and an uncertainty that the latent density widens."""
    same = PLAIN[name]
    return replace(
        same,
        title=f"{same.title}, widened by density",
        widened=True,
        training=same.training or name,
    )


CONTENDERS: Final[Mapping[str, Contender]] = {
    **PLAIN,
    **{
        f"{name}-widened": _widened(name)
        for name in (
            "mean-variance",
            "deep-ensemble-4",
            "sghmc-1",
            "sghmc-1-cold",
            "sghmc-1-late",
            "sghmc-1-late-cold",
            "sghmc-2",
            "sghmc-4",
            "sghmc-4-cold",
            "sghmc-4-trunk",
            "ensemble-4-trunk",
        )
    },
}


def trunk_sections(contender: Contender, *, budget: int) -> dict[str, JsonValue]:
    """The same sections for the network that the members of a contender start from."""
    steps = int(contender.trunk * budget)
    return {
        "n_chains": 1,
        "pretraining": {"steps": steps, "learning_rate": LEARNING_RATE},
        "method": {"kind": "mean-variance"},
    }


def sections(contender: Contender, *, budget: int, epsilon: float = 0.1) -> dict[str, JsonValue]:
    """Sections ``n_chains``, ``pretraining`` and ``method`` of a configuration.

    Args:
        contender: The row.
        budget: Minibatch gradients at cost 1.
        epsilon: Step size of the Markov chains.

    Returns:
        Part of a training configuration whose members use the budget and no more.

    Raises:
        ValueError: If the budget is too small for the phases of a chain.
    """
    rest = budget * contender.cost - int(contender.trunk * budget)
    each = rest // contender.members
    method: dict[str, JsonValue] = {"kind": contender.kind, **contender.settings}
    pretraining = each
    if contender.chain:
        share = RESTART if contender.trunk else LATE if contender.late else PRETRAINING
        pretraining = int(share * each)
        method |= _chain_phases(contender, each=each, pretraining=pretraining, epsilon=epsilon)
    rate = RESTART_RATE if contender.trunk else LEARNING_RATE
    optimizer: dict[str, JsonValue] = {"steps": pretraining, "learning_rate": rate}
    return {
        "n_chains": contender.members,
        "pretraining": optimizer,
        "method": method,
        "widen_beyond_training": contender.widened,
    }


def _chain_phases(
    contender: Contender, *, each: int, pretraining: int, epsilon: float
) -> dict[str, JsonValue]:
    burn_in = int((LATE_BURN_IN if contender.late else BURN_IN) * each)
    n_samples = N_SAMPLES // contender.members
    spent = pretraining + (N_ROUNDS + 1) * N_ESTIMATION + N_RAMP + burn_in
    per_draw = (each - spent) // n_samples
    if per_draw < 1:
        raise ValueError(f"{each} gradients per chain are too few: {spent} are spent before a draw")
    phases: dict[str, JsonValue] = {
        "ramp_steps": N_RAMP,
        "burn_in_steps": burn_in,
        "burn_in_rounds": N_ROUNDS,
        "n_samples": n_samples,
        "thinning_steps": per_draw,
    }
    if contender.kind == "sghmc" and "preconditioner" not in contender.settings:
        phases["preconditioner"] = {
            "kind": "inverse-gradient-variance",
            "epsilon": epsilon,
            "minibatches": N_ESTIMATION,
        }
    schedule = contender.settings.get("schedule")
    if isinstance(schedule, dict):
        settled = per_draw // 5
        phases["thinning_steps"] = settled
        phases["schedule"] = {
            **schedule,
            "exploration_steps": per_draw - 3 * settled,
            "ramp_steps": settled,
            "settling_steps": settled,
        }
    return phases
