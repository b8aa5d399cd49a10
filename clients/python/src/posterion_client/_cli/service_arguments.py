"""Arguments that say which service, and which model, is asked."""

import argparse

from posterion_client._client import Client
from posterion_client._retry import RetryPolicy


def add_service_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe ``--url``, ``--model``, ``--version`` and ``--retry-s``.

    Args:
        parser: Of a subcommand.
    """
    parser.add_argument(
        "--url", help="address of the service; default POSTERION_URL or http://127.0.0.1:8000"
    )
    parser.add_argument("--model", help="model to ask; default the service's")
    parser.add_argument("--version", help="version, digest or alias of the model")
    parser.add_argument(
        "--retry-s",
        type=float,
        default=60.0,
        metavar="S",
        help="how long a failed request is sent again (default 60; 0 = never)",
    )


def client_of(arguments: argparse.Namespace) -> Client:
    """The client that the arguments describe.

    Args:
        arguments: With what `add_service_arguments` describes.

    Raises:
        InvalidArgument: If an argument is wrong.
    """
    return Client(
        arguments.url,
        model=arguments.model,
        version=arguments.version,
        retry=RetryPolicy(budget_s=arguments.retry_s),
    )
