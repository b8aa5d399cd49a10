"""The repository keeps its shape: its top level, the length of its files, the names of modules."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TOP_LEVEL = {
    "Dockerfile",
    "LICENSE",
    "README.md",
    "benchmarks",
    "clients",
    "docs",
    "k8s",
    "model_store",
    "pyproject.toml",
    "service",
    "tests",
}
MAX_LINES = 300
MAX_BYTES = 1_000_000
NAMELESS_MODULES = {"base.py", "common.py", "helpers.py", "misc.py", "utils.py"}
# A home directory or a scratch path on one machine means nothing on another.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home/\w+|Users/\w+|work/(?:main|shared|venv))\b")


def _repository_files() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode != 0:
        pytest.skip(f"needs a git checkout: {listing.stderr.strip()}")
    names = [name for name in listing.stdout.split("\0") if name]
    return [Path(name) for name in names if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def files() -> list[Path]:
    found = _repository_files()
    assert Path("pyproject.toml") in found
    return found


def test_top_level_holds_only_what_the_architecture_names(files: list[Path]) -> None:
    entries = {path.parts[0] for path in files if not path.parts[0].startswith(".")}
    assert entries <= TOP_LEVEL


def test_no_python_file_is_longer_than_the_cap(files: list[Path]) -> None:
    lengths = {
        str(path): len((ROOT / path).read_text(encoding="utf-8").splitlines())
        for path in files
        if path.suffix == ".py"
    }
    assert {name: n for name, n in lengths.items() if n > MAX_LINES} == {}


def test_every_module_is_named_for_its_idea(files: list[Path]) -> None:
    assert [str(path) for path in files if path.name in NAMELESS_MODULES] == []


def test_no_large_file_is_committed(files: list[Path]) -> None:
    large = [str(path) for path in files if (ROOT / path).stat().st_size > MAX_BYTES]
    # Posterior samples are data of the package: the bundled store is the one exception.
    assert [name for name in large if "/bundled/store/blobs/" not in name] == []


def test_bundled_store_stays_under_ten_megabytes(files: list[Path]) -> None:
    bundled = [path for path in files if "bundled" in path.parts]
    assert sum((ROOT / path).stat().st_size for path in bundled) <= 10_000_000


def test_no_text_names_a_path_of_one_machine(files: list[Path]) -> None:
    suffixes = {".cff", ".json", ".md", ".py", ".toml", ".yaml", ".yml", ""}
    offenders = []
    for path in files:
        if path.suffix in suffixes and path != Path(__file__).relative_to(ROOT):
            text = (ROOT / path).read_text(encoding="utf-8", errors="replace")
            offenders += [f"{path}: {match.group()}" for match in MACHINE_PATH.finditer(text)]
    assert offenders == []


def test_every_package_folder_is_a_package(files: list[Path]) -> None:
    roots = ("service/posterion", "model_store/posterion_store", "clients/python/src")
    folders = {
        path.parent
        for path in files
        if path.suffix == ".py" and str(path).startswith(roots) and path.parent.name != "src"
    }
    missing = [str(folder) for folder in folders if folder / "__init__.py" not in files]
    assert missing == []
