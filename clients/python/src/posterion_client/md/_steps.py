"""Sends a step until it is answered, and refuses answers that no integrator should see."""

from posterion_client._errors import NonFiniteResult, PosterionError
from posterion_client._fields import Node
from posterion_client._refusals import error_of_structure
from posterion_client._retry import Attempts, Pacer, RetryPolicy
from posterion_client.md._channels import Channel
from posterion_client.md._frames import Reply, Structures, all_finite


class Steps:
    """The numbered steps of one run."""

    def __init__(self, channel: Channel, retry: RetryPolicy, pacer: Pacer) -> None:
        """Begin with step 0.

        Args:
            channel: Carries the steps.
            retry: When a failed step is sent again.
            pacer: Clock, sleep and chance of the retries.
        """
        self._channel = channel
        self._retry = retry
        self._pacer = pacer
        self._next = 0

    def answer(self, structures: Structures) -> Reply:
        """Send the next step until it is answered.

        Args:
            structures: Its structures.

        Returns:
            A reply in which every structure has finite numbers.

        Raises:
            PosterionError: What the last attempt came to, or the first structure in error.
        """
        reply = self._sent(structures)
        self._next += 1
        for index, problem in reply.problems.items():
            raise error_of_structure(Node(problem), index=index, request_id=None)
        seen = (reply.records["energy"], reply.forces, reply.gradient_positions)
        if not all(part is None or all_finite(part) for part in seen):
            raise NonFiniteResult("the service answered NaN or infinity without saying so")
        return reply

    def _sent(self, structures: Structures) -> Reply:
        pacer = self._pacer
        attempts = Attempts(self._retry, started_s=pacer.now(), deadline_s=None)
        while True:
            try:
                return self._channel.evaluate(structures, self._next)
            except PosterionError as error:  # noqa: PERF203 - an attempt costs a round trip
                pacer.sleep(attempts.delay_s(error, now_s=pacer.now(), chance=pacer.random()))
