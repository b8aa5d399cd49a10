"""Runs the self-test of one code against one service."""

from datetime import datetime, timezone

from ase import Atoms

from posterion_client._client import Client
from posterion_client._user_agent import OWN_VERSION
from posterion_client.selftest._certificate import Certificate
from posterion_client.selftest._checks import SelfTest, Told
from posterion_client.selftest._code import MDCode, Service
from posterion_client.selftest._jobs import N_STEPS, default_subjects, subjects_of


def certify(
    code: MDCode,
    client: Client,
    *,
    told: Told,
    model: str | None = None,
    structure: Atoms | None = None,
    n_steps: int = N_STEPS,
) -> Certificate:
    """Make every check of a code against a service.

    Args:
        code: The code under test.
        client: Of the service.
        told: Is told what begins.
        model: Which model; default is the service's.
        structure: What the runs are about; default is ethanol or silicon.
        n_steps: Steps of the runs at constant energy.

    Raises:
        InvalidArgument: If no structure suits the model.
        PosterionError: If the service cannot answer.
    """
    card = client.model(model)
    service = Service(url=client.url, model=card.name, digest=card.digest, precision="float64")
    subjects = default_subjects(card.elements) if structure is None else subjects_of(structure)
    test = SelfTest(code=code, client=client, service=service, subjects=subjects, n_steps=n_steps)
    checks = tuple(test.checks(told))
    return Certificate(
        code=f"{code.name} {code.version}",
        client=OWN_VERSION,
        url=client.url,
        model=card.name,
        digest=card.digest,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        checks=checks,
    )
