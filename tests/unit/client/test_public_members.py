"""What the package offers, and what importing it must not bring along."""

import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

import posterion_client
from posterion_client import AsyncClient, Client, PosterionError


def error_classes(root: type[PosterionError] = PosterionError) -> Iterator[type[PosterionError]]:
    yield root
    for child in root.__subclasses__():
        yield from error_classes(child)


def test_all_names_exactly_what_can_be_seen() -> None:
    # A submodule is an attribute once it has been imported, by whatever test.
    modules = {module.name for module in pkgutil.iter_modules(posterion_client.__path__)}
    others = modules | {"TYPE_CHECKING"}
    seen = {name for name in dir(posterion_client) if not name.startswith("_")} - others
    assert seen == set(posterion_client.__all__)
    assert all(hasattr(posterion_client, name) for name in seen)


def test_all_is_sorted_without_repetition() -> None:
    assert sorted(set(posterion_client.__all__)) == sorted(posterion_client.__all__)


def test_every_error_is_offered() -> None:
    names = {kind.__name__ for kind in error_classes()}
    assert names <= set(posterion_client.__all__)


def test_tree_in_the_documentation_names_every_error_with_its_code() -> None:
    tree = inspect.getdoc(inspect.getmodule(PosterionError)) or ""
    lines = tree.splitlines()
    for kind in error_classes():
        line = next((line for line in lines if f" {kind.__name__} " in f" {line} "), "")
        leaf = not kind.__subclasses__()
        assert line, f"{kind.__name__} is missing from the tree"
        assert not leaf or kind.code in line.split(), f"{kind.__name__} lacks its code"


def test_no_two_leaves_share_a_code() -> None:
    codes = [kind.code for kind in error_classes() if not kind.__subclasses__()]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    "method", ["predict", "predict_many", "models", "model", "versions", "service", "ready"]
)
def test_both_clients_take_the_same_arguments(method: str) -> None:
    blocking = inspect.signature(getattr(Client, method))
    waiting = inspect.signature(getattr(AsyncClient, method))
    assert blocking == waiting
    assert inspect.iscoroutinefunction(getattr(AsyncClient, method))


def test_import_brings_neither_ase_nor_the_service() -> None:
    program = (
        "import sys, posterion_client\n"
        "heavy = {'ase', 'torch', 'ray', 'pydantic', 'fastapi', 'posterion', 'posterion_store'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
