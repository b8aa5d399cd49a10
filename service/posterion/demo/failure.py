"""The one way in which the demo breaks off before it can judge."""

from posterion.errors import OperationError


class DemoFailed(OperationError):
    """A step of the demo could not be carried out."""

    code = "demo-failed"
