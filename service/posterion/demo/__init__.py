"""What ``posterion demo`` shows: the service at work on ethanol, and a verdict."""

from importlib.util import find_spec
from pathlib import Path

from posterion.errors import ConfigurationError


def run_demo(
    *, in_process: bool, json_file: Path | None, picture: Path, store: str | None = None
) -> int:
    """Start the service, ask it, run dynamics on it, and check what it answers.

    Args:
        in_process: Serve in one process under uvicorn instead of Ray Serve.
        json_file: Where the results go as JSON, if anywhere.
        picture: Where the plot goes, PNG.
        store: Model store with a bank ``ethanol``; None = the one in the package.

    Returns:
        Exit status: 0 if every check passed, else 1.

    Raises:
        ConfigurationError: If the client is not installed or a file cannot be written.
        DemoFailed: If the service cannot be started or does not answer.
    """
    if find_spec("posterion_client") is None:
        raise ConfigurationError(
            "the demo asks the service through posterion-client, which is not installed; in a "
            "checkout of Posterion run: pip install -e clients/python"
        )
    for path in (json_file, picture):
        if path is not None and not path.absolute().parent.is_dir():
            raise ConfigurationError(f"cannot write {path}: there is no such folder")
    from posterion.demo.run import run

    return run(in_process=in_process, json_file=json_file, picture=picture, store=store)
