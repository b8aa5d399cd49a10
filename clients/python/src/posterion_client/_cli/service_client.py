"""The client that a command's arguments describe."""

from argparse import Namespace

import httpx

from posterion_client._client import Client
from posterion_client._retry import RetryPolicy
from posterion_client._service_arguments import headers_of
from posterion_client._session import DEFAULT_TIMEOUT

RETRY_S = RetryPolicy().budget_s
"""Default of ``--retry-s`` for commands that ask by `Client`."""


def client_of(arguments: Namespace) -> Client:
    """A client for what `posterion_client._service_arguments.add_service_arguments` declares.

    Args:
        arguments: Parsed.

    Raises:
        InvalidArgument: If an argument is wrong.
    """
    return Client(
        arguments.url,
        model=arguments.model,
        version=arguments.version,
        timeout=httpx.Timeout(arguments.timeout_s, connect=DEFAULT_TIMEOUT.connect),
        retry=RetryPolicy(budget_s=arguments.retry_s),
        headers=headers_of(arguments),
    )
