"""The settings that every command for an MD code shares: whom to ask, and for how long."""

from argparse import ArgumentParser, Namespace, _ActionsContainer, _ArgumentGroup
from collections.abc import Mapping
from typing import TypedDict, get_args

from posterion_client._errors import InvalidArgument
from posterion_client._retry import RetryPolicy
from posterion_client.md import MD_RETRY, Precision


class ServiceSettings(TypedDict):
    """Keywords of `posterion_client.md.MDSession`, as given on a command line."""

    url: str | None
    model: str | None
    version: str | None
    digest: str | None
    precision: Precision
    charge: int
    spin_multiplicity: int
    retry: RetryPolicy
    timeout_s: float
    headers: Mapping[str, str]


def add_service_arguments(
    parser: ArgumentParser, *, retry_s: float = MD_RETRY.budget_s
) -> _ArgumentGroup:
    """Declare the options that say whom to ask, and for how long.

    Args:
        parser: Of a command.
        retry_s: Default of ``--retry-s``, seconds.

    Returns:
        Their group.
    """
    group = parser.add_argument_group("service")
    group.add_argument("--url", help="address; default: $POSTERION_URL, http://127.0.0.1:8000")
    group.add_argument("--model", help="which model; default: the service's")
    group.add_argument("--version", help="version, digest or alias of the model")
    group.add_argument(
        "--retry-s",
        type=float,
        default=retry_s,
        metavar="S",
        help="wait so long for a service that does not answer, 0 = not at all; default: "
        "%(default)s",
    )
    group.add_argument(
        "--timeout-s",
        type=float,
        default=60.0,
        metavar="S",
        help="longest silence while an answer is awaited; default: %(default)s",
    )
    group.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="sent with every request; may be repeated",
    )
    return group


def add_run_arguments(parser: ArgumentParser) -> None:
    """Declare the options that `service_settings` reads.

    Args:
        parser: Of a command that runs an MD code.
    """
    group = add_service_arguments(parser)
    group.add_argument("--digest", help="sample set that must answer, e.g. of an earlier run")
    add_precision(group)
    group.add_argument("--charge", type=int, default=0, metavar="N")
    group.add_argument("--spin-multiplicity", type=int, default=1, metavar="N", help="2S + 1")


def add_precision(group: _ActionsContainer) -> None:
    """Declare ``--precision``.

    Args:
        group: Or the parser itself.
    """
    group.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="float32",
        help="float64 evaluates with the slower reference engine",
    )


def headers_of(arguments: Namespace) -> dict[str, str]:
    """What ``--header`` said.

    Args:
        arguments: Parsed.

    Raises:
        InvalidArgument: If one is no header.
    """
    headers = {}
    for header in arguments.header:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise InvalidArgument(f"--header must look like 'Name: value', got {header!r}")
        headers[name.strip()] = value.strip()
    return headers


def service_settings(arguments: Namespace) -> ServiceSettings:
    """What was given for the options of `add_run_arguments`.

    Args:
        arguments: Parsed.

    Raises:
        InvalidArgument: If a value is wrong.
    """
    return ServiceSettings(
        url=arguments.url,
        model=arguments.model,
        version=arguments.version,
        digest=arguments.digest,
        precision=arguments.precision,
        charge=arguments.charge,
        spin_multiplicity=arguments.spin_multiplicity,
        retry=RetryPolicy(budget_s=arguments.retry_s),
        timeout_s=arguments.timeout_s,
        headers=headers_of(arguments),
    )


def plain_settings(url: str, *, model: str, digest: str, precision: Precision) -> ServiceSettings:
    """Settings that name a service and a sample set, with the defaults for all else.

    Args:
        url: Address of the service.
        model: Which model.
        digest: Sample set that must answer.
        precision: Of the evaluation.
    """
    return ServiceSettings(
        url=url,
        model=model,
        version=None,
        digest=digest,
        precision=precision,
        charge=0,
        spin_multiplicity=1,
        retry=MD_RETRY,
        timeout_s=60.0,
        headers={},
    )
