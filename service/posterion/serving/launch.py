"""How ``posterion serve`` starts a service, in one process or on Ray Serve."""

from posterion.errors import ConfigurationError
from posterion.serving.settings import ServeSettings
from posterion_store import Store


def serve(settings: ServeSettings) -> int:
    """Serve until a signal ends it.

    Args:
        settings: The service.

    Returns:
        Exit status: 0 after a signal, 1 if the service failed.

    Raises:
        ConfigurationError: If the settings cannot work on this machine.
        StoreError: If the store or a bank in it is missing.
    """
    check_banks(settings)
    if settings.in_process:
        from posterion.serving.single_process import serve_single_process  # noqa: PLC0415 - torch

        return serve_single_process(settings)
    from posterion.serving.local_cluster import serve_on_ray  # noqa: PLC0415 - ray, never in one process

    return serve_on_ray(settings)


def check_banks(settings: ServeSettings) -> None:
    """Refuse before anything starts if there is nothing to serve.

    Raises:
        ConfigurationError: If the store holds no bank.
        StoreError: If the store, or a bank that was named, is missing.
    """
    store = Store.open(settings.store, read_only=True)
    for name, alias in settings.selections:
        store.resolve(name, alias)
    if not settings.selections and not store.names():
        raise ConfigurationError(f"the store {settings.store} holds no bank")
