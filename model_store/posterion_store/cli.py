"""What an operator does to a store from a terminal.

Exit codes: 0 done · 1 verify found damage · 2 wrong usage · 3 no such store, bank or version ·
4 an object is damaged · 5 the alias could not be moved · 6 the storage refused or failed.
"""

import getpass
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from posterion_store import tables
from posterion_store.errors import (
    ChannelError,
    DamagedObject,
    InvalidInput,
    NotFound,
    StoreError,
    UnknownVersion,
)
from posterion_store.names import DEFAULT_ALIAS
from posterion_store.store import Store

EXIT_DAMAGE_FOUND = 1
_EXIT_CODES: dict[type[StoreError], int] = {
    InvalidInput: 2,
    NotFound: 3,
    DamagedObject: 4,
    ChannelError: 5,
}
_EXIT_BACKEND = 6

app = typer.Typer(
    name="posterion-store",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Look after published posterior sample sets.\n\n"
        "A bank is a name (ethanol); its versions are immutable and named by their digest; "
        "an alias (stable) points to one version and is what a service follows. "
        "Publishing adds a version, promoting moves an alias to it, rolling back moves it back. "
        "Running services follow an alias without a restart.\n\n"
        "Exit codes: 0 done, 1 verify found damage, 2 wrong usage, 3 not found, "
        "4 an object is damaged, 5 the alias could not be moved, 6 the storage failed."
    ),
)

StoreUrl = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="POSTERION_STORE",
        metavar="URL",
        help="A directory, file:///path or s3://bucket/prefix.",
    ),
]
Bank = Annotated[str, typer.Argument(metavar="NAME", help="Name of the bank, e.g. ethanol.")]
AliasName = Annotated[str, typer.Option("--alias", help="The alias to move.")]
Operator = Annotated[
    str, typer.Option("--by", default_factory=getpass.getuser, help="Who moves it, for the log.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for machines.")]


@app.command("list")
def list_banks(url: StoreUrl, *, as_json: AsJson = False) -> None:
    """List every bank with its versions and the aliases that point to them.

    Example: posterion-store list --store /data/models
    """
    store = Store.open(url, read_only=True)
    rows = tables.bank_rows(store)
    tables.emit(rows, tables.bank_table(rows, store.url), as_json=as_json)


@app.command()
def show(
    bank: Annotated[
        str,
        typer.Argument(
            metavar="NAME[@VERSION]",
            help="A bank, and an alias or at least 8 digits of a version (default: stable).",
        ),
    ],
    url: StoreUrl,
    *,
    as_json: AsJson = False,
) -> None:
    """Show one version: its manifest, and the moves of the aliases of its bank.

    Examples: posterion-store show ethanol --store /data/models;
    posterion-store show ethanol@0123456789abcdef --json
    """
    store = Store.open(url, read_only=True)
    name, _, version = bank.partition("@")
    digest = _resolve_for_show(store, name, version or None)
    manifest = store.manifest(digest)
    moves = [entry for alias in store.aliases(name) for entry in store.history(name, alias)]
    document = tables.show_document(digest, manifest, moves)
    tables.emit(document, tables.show_table(digest, manifest, moves), as_json=as_json)


@app.command()
def card(
    bank: Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="A bank, as for show.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Made if missing.")],
    url: StoreUrl,
) -> None:
    """Write the model card of a version, README.md and its pictures, into a folder.

    Example: posterion-store card ethanol ethanol-card --store /data/models
    """
    store = Store.open(url, read_only=True)
    name, _, version = bank.partition("@")
    manifest = store.manifest(_resolve_for_show(store, name, version or None))
    folder.mkdir(parents=True, exist_ok=True)
    for file, blob in manifest.files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.read_blob(blob))
        typer.echo(str(path))


@app.command()
def verify(
    url: StoreUrl,
    bank: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Only this bank (default: everything).")
    ] = None,
    repair_from: Annotated[
        str | None,
        typer.Option(
            "--repair-from", metavar="URL", help="Heal damaged objects from this other store."
        ),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Read and hash everything; report what is missing, truncated, changed or alien.

    Unreferenced objects and half-written files that a crash left behind are reported too,
    but are no damage. Repairing replaces an object only if its own bytes are wrong and the
    other store's bytes are right. Exits with 1 if damage remains.

    Examples: posterion-store verify --store /data/models;
    posterion-store verify --store /data/models --repair-from s3://backup/models
    """
    store = Store.open(url, read_only=True) if repair_from is None else _open_to_write(url)
    source = None if repair_from is None else Store.open(repair_from, read_only=True)
    report = store.verify(bank, repair_from=source)
    tables.emit(tables.report_document(report), tables.report_table(report), as_json=as_json)
    if not report.ok:
        raise typer.Exit(EXIT_DAMAGE_FOUND)


@app.command()
def promote(
    bank: Bank,
    version: Annotated[
        str,
        typer.Argument(metavar="VERSION", help="At least 8 digits of a version, or another alias."),
    ],
    url: StoreUrl,
    by: Operator,
    alias: AliasName = DEFAULT_ALIAS,
    *,
    as_json: AsJson = False,
) -> None:
    """Point an alias to a version. Services that follow the alias load it.

    Examples: posterion-store promote ethanol 0123456789abcdef --store /data/models;
    posterion-store promote ethanol candidate --alias stable
    """
    entry = _open_to_write(url).promote(bank, version, alias=alias, by=by)
    tables.emit(entry.model_dump(mode="json"), tables.moves_table([entry]), as_json=as_json)


@app.command()
def rollback(
    bank: Bank,
    url: StoreUrl,
    by: Operator,
    alias: AliasName = DEFAULT_ALIAS,
    to: Annotated[
        str | None, typer.Option(help="Go back to this version (default: the one before).")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Point an alias back to where it pointed before its last promotion.

    Each rollback undoes one promotion; the log keeps every move.

    Examples: posterion-store rollback ethanol --store /data/models;
    posterion-store rollback ethanol --to 0123456789abcdef
    """
    entry = _open_to_write(url).rollback(bank, alias=alias, by=by, to=to)
    tables.emit(entry.model_dump(mode="json"), tables.moves_table([entry]), as_json=as_json)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code.

    Args:
        arguments: What follows the program's name; None for the process's own.
    """
    try:
        app(args=None if arguments is None else list(arguments))
    except StoreError as error:
        typer.echo(f"error[{error.code}]: {error.detail}", err=True)
        sys.exit(exit_code(error))


def exit_code(error: StoreError) -> int:
    """Exit code that tells a script what kind of error ended the command."""
    for kind, code in _EXIT_CODES.items():
        if isinstance(error, kind):
            return code
    return _EXIT_BACKEND


def _open_to_write(url: str) -> Store:
    """Open an existing store for writing; a mistyped URL must not make a new one."""
    Store.open(url, read_only=True)
    return Store.open(url)


def _resolve_for_show(store: Store, name: str, version: str | None) -> str:
    """Resolve a version; without one and without ``stable``, take the newest."""
    try:
        return store.resolve(name, version)
    except UnknownVersion:
        if version is not None:
            raise
        return store.versions(name)[-1].digest
