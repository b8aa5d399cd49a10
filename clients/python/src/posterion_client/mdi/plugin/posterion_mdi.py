"""What an MDI driver loads as the plugin ``posterion_mdi``; see `posterion_client.mdi`."""

from posterion_client.mdi._command_line import open_plugin


def MDI_Plugin_init_posterion_mdi(state: object) -> None:  # noqa: N802 - the name MDI looks for
    """The driver launches the plugin, and sends commands from a function of its own."""
    open_plugin(state, wait=True)


def MDI_Plugin_open_posterion_mdi(state: object) -> None:  # noqa: N802 - the name MDI looks for
    """The driver opens the plugin, and sends commands as to any engine."""
    open_plugin(state, wait=False)
