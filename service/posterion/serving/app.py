"""The Ray Serve application: ``posterion.serving.app:build`` in a Serve config."""

import os

from ray import serve
from ray.serve import Application

from posterion.serving.ray_environment import require_token_mode
from posterion.serving.replica import Replica
from posterion.serving.settings import ServeSettings

APPLICATION = "posterion"
DEPLOYMENT = "Replica"
MAX_ONGOING_REQUESTS = 100_000


def build(args: ServeSettings) -> Application:
    """Build the application from the ``args`` of a Serve config.

    Args:
        args: The service. Host, port, ingress and temporary directory belong to the cluster
            and have no effect here.

    Returns:
        The application; deployment options may be overridden in the Serve config.

    Raises:
        ConfigurationError: If the cluster does not ask for a token.
    """
    return deployed(Replica, args)


def deployed(replica: type[Replica], args: ServeSettings) -> Application:
    """Deploy one kind of replica.

    Args:
        replica: What each copy is.
        args: See `build`.

    Returns:
        The application.

    Raises:
        ConfigurationError: If the cluster does not ask for a token.
    """
    require_token_mode(os.environ)
    deployment = serve.deployment(
        name=DEPLOYMENT,
        num_replicas=args.replicas,
        # Far above what the app itself admits: its refusal is a problem document that says
        # when to come back, Serve's is plain text.
        max_ongoing_requests=MAX_ONGOING_REQUESTS,
        ray_actor_options={
            "num_cpus": args.n_cpus,
            "num_gpus": args.gpus_per_replica if args.device == "cuda" else 0.0,
        },
        health_check_period_s=5.0,
        health_check_timeout_s=15.0,
        graceful_shutdown_timeout_s=args.drain_timeout_s,
        graceful_shutdown_wait_loop_s=0.2,
    )(replica)
    return deployment.bind(args)
