"""What an operator types, sees and gets as an exit code."""

import json
from pathlib import Path
from typing import Any

import pytest

from posterion_store import Store
from posterion_store.cli import app, main
from posterion_store.layout import blob_key
from tests.support.sample_sets import publish_sample_set


class Terminal:
    """Runs the command line and keeps what it said."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = ""
        self.err = ""

    def run(self, *arguments: str) -> int:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        self.out, self.err = self._capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code

    def json(self, *arguments: str) -> Any:  # noqa: ANN401 - whatever the command wrote
        assert self.run(*arguments, "--json") == 0, self.err
        return json.loads(self.out)


@pytest.fixture
def terminal(
    capsys: pytest.CaptureFixture[str], local: Store, monkeypatch: pytest.MonkeyPatch
) -> Terminal:
    monkeypatch.setenv("POSTERION_STORE", local.url)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("LOGNAME", "operator")
    return Terminal(capsys)


@pytest.fixture
def versions(local: Store) -> list[str]:
    return [publish_sample_set(local, number=number)[7:23] for number in (1, 2)]


def test_list_shows_versions_and_the_aliases_on_them(
    terminal: Terminal, versions: list[str]
) -> None:
    terminal.run("promote", "ethanol", versions[1], "--by", "ann")
    assert terminal.run("list") == 0
    lines = [line for line in terminal.out.splitlines() if "ethanol" in line]
    assert [version in line for version, line in zip(versions, lines, strict=True)] == [True, True]
    assert ["stable" in line for line in lines] == [False, True]
    rows = terminal.json("list")
    assert [(row["version"], row["aliases"]) for row in rows] == [
        (versions[0], []),
        (versions[1], ["stable"]),
    ]


def test_promote_and_rollback_move_the_alias_and_sign_with_the_operator(
    terminal: Terminal, versions: list[str], local: Store
) -> None:
    assert terminal.run("promote", "ethanol", versions[0]) == 0
    assert versions[0][:8] in terminal.out
    assert terminal.run("promote", "ethanol", versions[1], "--by", "bob") == 0
    entry = terminal.json("rollback", "ethanol")
    assert (entry["seq"], entry["action"], entry["manifest"][7:23]) == (3, "rollback", versions[0])
    assert [e.by for e in local.history("ethanol")] == ["operator", "bob", "operator"]
    assert (
        terminal.json("rollback", "ethanol", "--to", versions[1])["manifest"][7:23] == versions[1]
    )


def test_show_tells_the_newest_version_until_one_is_promoted(
    terminal: Terminal, versions: list[str]
) -> None:
    assert terminal.json("show", "ethanol")["version"] == versions[1]
    terminal.run("promote", "ethanol", versions[0])
    shown = terminal.json("show", "ethanol")
    assert shown["version"] == versions[0]
    assert shown["manifest"]["level_of_theory"] == "PBE/def2-SVP"
    assert [move["seq"] for move in shown["moves"]] == [1]
    assert terminal.run("show", f"ethanol@{versions[1][:8]}") == 0
    assert f"ethanol@{versions[1]}" in terminal.out
    assert "force_mae: 12.5" in terminal.out


def test_card_writes_the_files_of_a_version(
    terminal: Terminal, versions: list[str], local: Store, tmp_path: Path
) -> None:
    assert terminal.run("card", f"ethanol@{versions[0]}", str(tmp_path / "card")) == 0
    blob = local.manifest(local.resolve("ethanol", versions[0])).files["README.md"]
    assert (tmp_path / "card" / "README.md").read_bytes() == local.read_blob(blob)


def test_verify_exits_with_1_on_damage_and_heals_from_another_store(
    terminal: Terminal, versions: list[str], local: Store, tmp_path: Path
) -> None:
    mirror = tmp_path / "mirror"
    for number in (1, 2):
        publish_sample_set(Store.open(mirror), number=number)
    assert terminal.run("verify") == 0
    assert "sound: 10 objects, 2 manifests, 5 blobs" in terminal.out
    sample = local.manifest(local.resolve("ethanol", versions[0])).samples[0]
    Path(local.url, blob_key(sample.sha256)).write_bytes(b"?")
    assert terminal.run("verify", "ethanol") == 1
    assert "truncated-object" in terminal.out
    assert "1 damaged" in terminal.out
    report = terminal.json("verify", "--repair-from", str(mirror))
    assert (report["ok"], report["repaired"]) == (True, [blob_key(sample.sha256)])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("show", "benzene"), 3, "error[unknown-bank]: "),
        (("show", "ethanol@stable"), 3, "error[unknown-version]: "),
        (("show", "../ethanol"), 2, "error[invalid-name]: "),
        (("list", "--store", "ftp://x"), 2, "error[unsupported-store-url]: "),
        (("rollback", "ethanol"), 5, "error[nothing-to-roll-back]: "),
        (("promote", "ethanol"), 2, "Missing argument"),
        (("nonsense",), 2, "No such command"),
    ],
)
def test_an_error_has_a_code_for_people_and_one_for_scripts(
    terminal: Terminal, versions: list[str], arguments: tuple[str, ...], code: int, said: str
) -> None:
    assert terminal.run(*arguments) == code
    assert said in terminal.err
    assert terminal.out == ""


def test_a_damaged_manifest_ends_show_with_4(
    terminal: Terminal, versions: list[str], local: Store
) -> None:
    for path in Path(local.url, "manifests").iterdir():
        path.write_bytes(b"{}")
    assert terminal.run("show", "ethanol") == 4
    assert "error[corrupt-object]: " in terminal.err


@pytest.mark.parametrize("command", ["list", "verify", "rollback", "promote"])
def test_a_mistyped_store_is_not_made(terminal: Terminal, tmp_path: Path, command: str) -> None:
    arguments = {"rollback": ["ethanol"], "promote": ["ethanol", "0" * 16]}.get(command, [])
    absent = tmp_path / "absent"
    assert terminal.run(command, *arguments, "--store", str(absent)) == 3
    assert "error[store-not-found]: " in terminal.err
    assert not absent.exists()


def test_every_command_explains_itself_with_an_example(terminal: Terminal) -> None:
    for command in app.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__
        assert terminal.run(name, "--help") == 0
        assert f"posterion-store {name}" in terminal.out.split("Example")[1]
