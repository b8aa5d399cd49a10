"""What an operator may ask for, and what is refused."""

import stat
from pathlib import Path

import pytest
from pydantic import ValidationError

from posterion.bundled import BUNDLED_BANKS
from posterion.errors import ConfigurationError
from posterion.serving.formation import Cost
from posterion.serving.ray_environment import (
    LONGEST_TEMP_DIR,
    enter_ray_environment,
    make_temp_dir,
    ray_environment,
    require_token_mode,
)
from posterion.serving.settings import CPU_BATCH, ServeSettings


def test_an_empty_document_serves_the_bundled_store_on_loopback() -> None:
    settings = ServeSettings.model_validate({})
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.store.endswith(str(Path("posterion", "bundled", "store")))
    assert not settings.in_process


def test_a_bank_without_an_alias_means_stable() -> None:
    settings = ServeSettings(banks=("ethanol", "water@canary"))
    assert settings.selections == (("ethanol", "stable"), ("water", "canary"))


def test_the_longest_names_of_the_store_can_be_served() -> None:
    name, alias = "e" * 63, "s" * 32
    assert ServeSettings(banks=(f"{name}@{alias}",)).selections == ((name, alias),)


@pytest.mark.parametrize(
    "document",
    [
        {"banks": ["Ethanol"]},
        {"banks": ["ethanol@"]},
        {"banks": ["ethanol@stable@canary"]},
        {"banks": ["ethanol@" + "a" * 33]},
        {"banks": ["ethanol@deadbeef"]},
        {"banks": ["e" * 64]},
        {"banks": ["../ethanol"]},
        {"banks": ["ethanol", "ethanol@canary"]},
        {"port": 65536},
        {"replicas": 0},
        {"device": "tpu"},
        {"drain_timeout_s": 60},
        {"nosuch": 1},
        {"store": ""},
    ],
)
def test_what_cannot_be_meant_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ServeSettings.model_validate(document)


def test_bounds_follow_the_device_unless_chosen() -> None:
    assert ServeSettings().batch_bounds("cpu") == CPU_BATCH
    chosen = ServeSettings(batch_edges=7, batch_atoms=5).batch_bounds("cuda")
    assert chosen == Cost(edges=7, atoms=5)


@pytest.mark.parametrize("mode", ["", "disabled", "Token"])
def test_a_cluster_without_a_token_is_refused(mode: str) -> None:
    with pytest.raises(ConfigurationError, match="RAY_AUTH_MODE=token"):
        require_token_mode({"RAY_AUTH_MODE": mode} if mode else {})


def test_an_operator_cannot_switch_the_token_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(ConfigurationError):
        enter_ray_environment(ServeSettings(), tmp_path, port=8000)


def test_every_service_has_a_token_that_only_its_user_can_read(tmp_path: Path) -> None:
    tokens = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        environment = ray_environment(ServeSettings(ingress="ray"), tmp_path / name, port=8000)
        require_token_mode(environment)
        path = Path(environment["RAY_AUTH_TOKEN_PATH"])
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        tokens.append(path.read_text())
    assert tokens[0] != tokens[1]
    assert all(len(token) == 64 for token in tokens)


def test_two_services_share_no_port_and_no_path(tmp_path: Path) -> None:
    seen: list[str] = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        environment = ray_environment(ServeSettings(), tmp_path / name, port=8000)
        seen += [
            value
            for key, value in environment.items()
            if key.endswith(("_PATH", "_LOC", "_BASE", "_FILE"))
            or (key.endswith("_PORT") and value != "0")
        ]
    assert len(seen) >= 16
    assert len(set(seen)) == len(seen)


def test_the_private_directory_is_short_and_private(tmp_path: Path) -> None:
    made = make_temp_dir(ServeSettings())
    try:
        assert len(str(made)) <= LONGEST_TEMP_DIR
        assert stat.S_IMODE(made.stat().st_mode) == 0o700
    finally:
        made.rmdir()


def test_a_directory_too_deep_for_a_socket_is_refused(tmp_path: Path) -> None:
    deep = tmp_path / "a-directory-with-a-long-name"
    deep.mkdir()
    with pytest.raises(ConfigurationError, match="temp_dir"):
        make_temp_dir(ServeSettings(temp_dir=deep))
    assert list(deep.iterdir()) == []


def test_the_bundled_store_serves_ethanol_first_and_others_what_they_have(tmp_path: Path) -> None:
    assert ServeSettings().banks == BUNDLED_BANKS
    assert BUNDLED_BANKS[0] == "ethanol"
    assert ServeSettings(banks=("chon-small",)).banks == ("chon-small",)
    assert ServeSettings(store=str(tmp_path)).banks == ()
