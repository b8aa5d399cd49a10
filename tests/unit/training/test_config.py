"""A configuration is right, or refused before anything starts, every wrong field by name."""

import re
from pathlib import Path
from typing import Any

import annotated_types
import pytest
import yaml
from pydantic import ValidationError

from posterion.cli import main
from posterion.errors import ConfigurationError
from posterion.network.config import NetworkConfig
from posterion.training.chain_setup import chain_settings
from posterion.training.config import NetworkSizes, TrainingConfig, load_config
from posterion.training.methods.registry import METHODS
from posterion.training.sampler_config import GaussianPriorConfig, TransferPriorConfig
from tests.support.training_runs import training_config

BUNDLED = Path(__file__).parents[3] / "service" / "posterion" / "bundled" / "ethanol.yaml"


def document() -> dict[str, Any]:
    dumped: dict[str, Any] = training_config().model_dump(mode="json")
    return dumped


def written(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def leaves(section: dict[str, Any], prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, value in section.items():
        path = (*prefix, key)
        found += leaves(value, path) if isinstance(value, dict) else [path]
    return found


def replaced(path: tuple[str, ...], value: object) -> dict[str, Any]:
    whole = document()
    section = whole
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    return whole


@pytest.mark.parametrize("path", leaves(document()), ids=".".join)
def test_wrong_value_of_any_field_is_named(path: tuple[str, ...], tmp_path: Path) -> None:
    nonsense = {"neither": "number nor text"}
    with pytest.raises(ConfigurationError) as caught:
        load_config(written(tmp_path, replaced(path, nonsense)))
    lines = caught.value.detail.splitlines()[1:]
    assert any(all(name in line for name in path) for line in lines)
    assert caught.value.code == "invalid-configuration"


@pytest.mark.parametrize(
    "section", ["", "data", "network", "pretraining", "method", "execution", "gates"]
)
def test_unknown_key_is_named(section: str, tmp_path: Path) -> None:
    path = (*([section] if section else []), "stepz")
    with pytest.raises(ConfigurationError, match=r"\.(\w+\.)?".join(path)):
        load_config(written(tmp_path, replaced(path, 1)))


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        (("sampler",), r"sampler: unknown key; did you mean method\?"),
        (("licens",), r"licens: unknown key; did you mean licence\?"),
        (("network", "cutof"), r"network\.cutof: unknown key; did you mean cutoff\?"),
        (("method", "burnin_steps"), r"burnin_steps: unknown key; did you mean burn_in_steps\?"),
        (("method", "preconditioner", "epsilom"), "did you mean epsilon"),
        (("prior", "stt"), r"prior\.gaussian\.stt: unknown key; did you mean std\?"),
        (
            ("likelihood", "xyz"),
            "xyz: unknown key; expected one of energy_std_per_sqrt_atom, residual$",
        ),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else "",
)
def test_key_that_was_meant_is_proposed(path: tuple[str, ...], advice: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=advice):
        load_config(written(tmp_path, replaced(path, 1)))


def test_every_wrong_field_is_named_at_once(tmp_path: Path) -> None:
    wrong = document()
    wrong["batch_size"] = 0
    wrong["method"]["friction"] = 1.5
    wrong["name"] = "Not A Name"
    with pytest.raises(ConfigurationError) as caught:
        load_config(written(tmp_path, wrong))
    for name in ("batch_size", "method.sghmc.friction", "name"):
        assert f"\n  {name}: " in caught.value.detail


BEYOND = {
    ("network", "n_layers"): 9,
    ("network", "n_features"): 513,
    ("network", "l_max"): 5,
    ("network", "n_radial"): 65,
    ("network", "envelope_degree"): 21,
    ("method", "temperature"): 0.0,
    ("method", "preconditioner", "epsilon"): 1.0,
    ("method", "preconditioner", "kind"): "adam",
    ("method", "burn_in_steps"): 2,
    ("pretraining", "learning_rate"): float("inf"),
    ("data", "n_calibration"): 5,
    ("data", "files"): [],
    ("data", "seed"): -1,
    ("seed",): -1,
    ("n_chains",): 65,
    ("batch_size",): 1000,
}


@pytest.mark.parametrize("path", BEYOND, ids=".".join)
def test_value_out_of_range_is_named(path: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=path[-1]):
        load_config(written(tmp_path, replaced(path, BEYOND[path])))


REFUSED: dict[str, dict[str, Any]] = {
    "noise_correction must not be combined": {"noise_correction": True},
    "write minibatches: independent": {"noise_correction": True, "minibatches": "permutation"},
    "n_samples must be a multiple of": {
        "n_samples": 3,
        "schedule": {"kind": "cyclical", "draws_per_cycle": 2},
    },
    "exploration_temperature": {
        "schedule": {"kind": "cyclical", "exploration_temperature": -1.0},
    },
    "floor": {"schedule": {"kind": "cyclical", "floor": 0.0}},
    "minibatches": {"minibatches": "with-replacement"},
    "does not match any of the expected tags": {"kind": "nuts"},
}


@pytest.mark.parametrize("message", REFUSED)
@pytest.mark.parametrize("kind", ["sghmc", "baoa"])
def test_settings_that_do_not_go_together_are_refused(
    message: str, kind: str, tmp_path: Path
) -> None:
    whole = document()
    whole["method"] |= {"kind": kind} | REFUSED[message]
    with pytest.raises(ConfigurationError, match=message):
        load_config(written(tmp_path, whole))


@pytest.mark.parametrize("name", sorted(set(NetworkSizes.model_fields)))
def test_sizes_the_file_allows_are_sizes_the_network_allows(name: str) -> None:
    """Otherwise the run would fail after its data were read, in another module's words."""
    limits = annotated_types.Ge, annotated_types.Gt, annotated_types.Le, annotated_types.Lt
    here, there = (
        [item for item in model.model_fields[name].metadata if isinstance(item, limits)]
        for model in (NetworkSizes, NetworkConfig)
    )
    assert here == there


@pytest.mark.parametrize(
    ("method", "n_chains", "wanted"),
    [
        ({"kind": "sghmc", "n_samples": 1}, 1, "from 2 to 64"),
        ({"kind": "deep-ensemble"}, 1, "from 2 to 64"),
        ({"kind": "mean-variance"}, 2, "1"),
        ({"kind": "mc-dropout"}, 3, "1"),
    ],
)
def test_number_of_members_that_make_no_bank_is_refused(
    method: dict[str, Any], n_chains: int, wanted: str, tmp_path: Path
) -> None:
    few = document() | {"method": method, "n_chains": n_chains}
    with pytest.raises(ConfigurationError, match=f"n_chains must be {wanted} for this"):
        load_config(written(tmp_path, few))


@pytest.mark.parametrize(("kind", "n_members"), [("deep-ensemble", 5), ("evidential", 1)])
def test_method_knows_how_many_members_are_usual(kind: str, n_members: int, tmp_path: Path) -> None:
    silent = document() | {"method": {"kind": kind}}
    del silent["n_chains"]
    assert load_config(written(tmp_path, silent)).n_chains == n_members


def test_only_the_error_itself_is_named(tmp_path: Path) -> None:
    """The number of members cannot be known without the method; that is no second fault."""
    wrong = document() | {"method": {"kind": "evidential", "lambda": 0.5}}
    del wrong["n_chains"]
    with pytest.raises(ConfigurationError, match=r"method\.evidential\.lambda") as caught:
        load_config(written(tmp_path, wrong))
    assert "n_chains" not in caught.value.detail


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    whole = replaced(("data", "files"), ["near.extxyz", "/far/away.npz"])
    whole["data"]["report_files"] = ["sub/report.extxyz"]
    data = load_config(written(tmp_path, whole)).data
    assert data.files == (tmp_path / "near.extxyz", Path("/far/away.npz"))
    assert data.report_files == (tmp_path / "sub" / "report.extxyz",)


TRANSFER = {"kind": "transfer", "store": "store", "bank": "ethanol@stable"}


@pytest.mark.parametrize(
    ("store", "found"),
    [("store", "{}/store"), ("/far/store", "/far/store"), ("s3://bucket/a", "s3://bucket/a")],
)
def test_store_of_a_transfer_prior_is_found_from_the_file(
    store: str, found: str, tmp_path: Path
) -> None:
    prior = load_config(written(tmp_path, replaced(("prior",), TRANSFER | {"store": store}))).prior
    assert isinstance(prior, TransferPriorConfig)
    assert prior.store == found.format(tmp_path)


def test_prior_without_a_kind_is_gaussian(tmp_path: Path) -> None:
    prior = load_config(written(tmp_path, replaced(("prior",), {"std": 0.5}))).prior
    assert prior == GaussianPriorConfig(std=0.5)
    with pytest.raises(ConfigurationError, match="'laplace' found using"):
        load_config(written(tmp_path, replaced(("prior",), {"kind": "laplace"})))


@pytest.mark.parametrize(
    ("key", "value"),
    [("bank", "Not A Name"), ("bank", "ethanol@"), ("centre", "median"), ("std", 0.0)],
)
def test_transfer_prior_out_of_range_is_named(key: str, value: object, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=rf"prior\.transfer\.{key}"):
        load_config(written(tmp_path, replaced(("prior",), TRANSFER | {key: value})))


def test_loaded_file_is_the_configuration_it_was_written_from(tmp_path: Path) -> None:
    absolute = training_config(files=(tmp_path / "frames.extxyz",))
    assert load_config(written(tmp_path, absolute.model_dump(mode="json"))) == absolute


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [1, 2", "expected YAML"),
        ("- 1\n- 2\n", "expected a mapping, got list"),
        ("", "expected a mapping, got NoneType"),
    ],
)
def test_file_that_is_no_mapping_is_refused(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_config(written(tmp_path, content))


def test_missing_and_binary_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent\.yaml: cannot be read"):
        load_config(tmp_path / "absent.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=r"binary\.yaml: expected YAML"):
        load_config(tmp_path / "binary.yaml")


def test_configuration_cannot_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        training_config().seed = 5  # type: ignore[misc]


def snippets() -> list[str]:
    """The YAML examples of the guide that name a method."""
    guide = (Path(__file__).parents[3] / "docs" / "training.md").read_text(encoding="utf-8")
    return [text for text in re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL) if "kind" in text]


def test_examples_of_the_guide_are_valid() -> None:
    """Every kind but the default one is shown, with the members it takes if none are asked for."""
    kinds = set()
    for snippet in snippets():
        whole = document() | yaml.safe_load(snippet)
        if "n_chains" not in snippet:
            del whole["n_chains"]
        kinds.add(TrainingConfig.model_validate(whole).method.kind)
    assert kinds == METHODS.keys() - {"sghmc"}


def test_recipe_of_the_bundled_set_is_valid() -> None:
    config = load_config(BUNDLED)
    assert isinstance(config, TrainingConfig)
    assert config.n_chains * chain_settings(config).n_samples >= 8


def test_help_of_the_command_names_every_method(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["posterion", "train", "--help"])
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr().out
    assert [kind for kind in METHODS if kind not in said] == []
