"""How what the store holds is laid out for a terminal, and for machines."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from pydantic import JsonValue
from rich.console import Console, Group, RenderableType
from rich.table import Table

from posterion_store.channel import ChannelEntry
from posterion_store.manifest import Manifest
from posterion_store.names import MIN_PREFIX_LENGTH, version_of
from posterion_store.store import Store
from posterion_store.verify import Report


def emit(document: JsonValue, table: RenderableType, *, as_json: bool) -> None:
    """Write JSON, or a table."""
    console = Console(soft_wrap=as_json, highlight=False, markup=False)
    if as_json:
        console.out(json.dumps(document, indent=2, sort_keys=True), highlight=False)
    else:
        console.print(table)


def bank_rows(store: Store) -> list[JsonValue]:
    """One entry per version: name, version, digest, created_at, aliases."""
    rows: list[JsonValue] = []
    for name in store.names():
        aliases = store.aliases(name)
        for entry in store.versions(name):
            pointing: list[JsonValue] = [a for a, d in aliases.items() if d == entry.digest]
            rows.append({"name": name, **asdict(entry), "aliases": pointing})
    return rows


def bank_table(rows: list[JsonValue], url: str) -> Table:
    """Lay out :func:`bank_rows`."""
    table = Table("bank", "version", "created", "aliases", title=url, title_style="dim")
    for row in rows:
        assert isinstance(row, dict)
        aliases = row["aliases"]
        assert isinstance(aliases, list)
        table.add_row(
            str(row["name"]),
            str(row["version"]),
            str(row["created_at"]),
            ", ".join(map(str, aliases)),
        )
    return table


def show_document(
    digest: str, manifest: Manifest, moves: Sequence[ChannelEntry]
) -> dict[str, JsonValue]:
    """Everything ``show`` tells: digest, version, manifest and moves."""
    return {
        "digest": digest,
        "version": version_of(digest),
        "manifest": manifest.model_dump(mode="json"),
        "moves": [move.model_dump(mode="json") for move in moves],
    }


def show_table(digest: str, manifest: Manifest, moves: Sequence[ChannelEntry]) -> RenderableType:
    """Lay out what ``show`` tells, without the sections meant for machines."""
    table = Table(show_header=False, title=f"{manifest.name}@{version_of(digest)}")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    chains = {sample.chain for sample in manifest.samples}
    rows = {
        "digest": digest,
        "created": manifest.created_at,
        "description": manifest.description,
        "licence": manifest.licence,
        "method": manifest.method,
        "samples": f"{len(manifest.samples)} of {len(chains)} chains",
        "size": f"{sum(blob.size for blob in manifest.blobs) / 1e6:.1f} MB",
        "elements": ", ".join(map(str, manifest.elements)),
        "cutoff": f"{manifest.cutoff} angstrom",
        "periodic": "yes" if manifest.periodic else "no",
        "level of theory": manifest.level_of_theory,
        "datasets": "\n".join(f"{d.role}: {d.n_frames} of {d.source}" for d in manifest.datasets),
        "metrics": _compact(manifest.metrics),
        "diagnostics": _compact(manifest.diagnostics),
        "software": ", ".join(f"{name} {version}" for name, version in manifest.software.items()),
        "files": ", ".join(manifest.files),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return Group(table, moves_table(moves))


def moves_table(moves: Sequence[ChannelEntry]) -> Table:
    """Lay out moves of aliases, the oldest first; versions by the fewest digits that count."""
    table = Table("alias", "seq", "action", "from", "to", title="moves")
    table.add_column("by", overflow="fold")
    table.add_column("at", no_wrap=True)
    for move in moves:
        table.add_row(
            move.alias,
            str(move.seq),
            move.action,
            "-" if move.prev is None else version_of(move.prev)[:MIN_PREFIX_LENGTH],
            version_of(move.manifest)[:MIN_PREFIX_LENGTH],
            move.by,
            move.at[:19].replace("T", " "),
        )
    return table


def report_document(report: Report) -> dict[str, JsonValue]:
    """A verification for machines."""
    return {**asdict(report), "ok": report.ok}


def report_table(report: Report) -> RenderableType:
    """A verification for people: one line per finding, and a verdict."""
    table = Table("finding", "what", title=report.url, title_style="dim", show_lines=True)
    table.columns[1].overflow = "fold"
    for finding in report.findings:
        table.add_row(finding.code, finding.detail)
    repaired = [f"healed {key}" for key in report.repaired]
    damage = sum(not finding.harmless for finding in report.findings)
    verdict = (
        f"{'sound' if report.ok else f'{damage} damaged'}: {report.n_objects} objects, "
        f"{report.n_manifests} manifests, {report.n_blobs} blobs"
    )
    return Group(*([table] if report.findings else []), *repaired, verdict)


def _compact(section: dict[str, JsonValue]) -> str:
    """The plain numbers and words of a section; nested parts are left to ``--json``."""
    return "\n".join(
        f"{name}: {value}" for name, value in section.items() if not isinstance(value, dict | list)
    )
