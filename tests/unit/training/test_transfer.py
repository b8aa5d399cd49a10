"""A transfer prior takes over one network, its scale and its weights, or is refused by name."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from posterion.errors import ConfigurationError, UnknownModel
from posterion.inference.bank import ReferenceEngine
from posterion.inference.held_out_frames import evaluate_held_out
from posterion.inference.loading import load_bank
from posterion.network.functional import NetworkFunction
from posterion.structures.ase_io import LabelledFrame
from posterion.training.checkpoint import load_checkpoint
from posterion.training.config import NetworkSizes
from posterion.training.plan import RunPlan, plan_run
from posterion.training.report_input import sampler_section
from posterion.training.sampler_config import TransferPriorConfig
from posterion.training.transfer import (
    TransferSource,
    load_transfer_source,
    transfer_network,
    transfer_reference,
)
from posterion.training.worker import CHECKPOINT, Progress, run_worker
from posterion_store import Store
from tests.support.banks import NETWORK, REFERENCE, publish_random_bank, thermal_ethanol
from tests.support.data import morse_frames, write_extxyz
from tests.support.training_runs import N_DATA, training_config

SIZES = NetworkSizes(cutoff=4.5, n_layers=2, n_features=4, l_max=1)
ENERGY_STD = 0.003


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of a bank of two chains; ``stable`` is the first."""
    path = tmp_path_factory.mktemp("transfer") / "store"
    publish_random_bank(Store.open(path), seed=0)
    publish_random_bank(Store.open(path), seed=1, alias="candidate")
    return path


def source_of(store: Path, **changes: object) -> TransferSource:
    section = {"kind": "transfer", "store": str(store), "bank": "ethanol"} | changes
    return load_transfer_source(TransferPriorConfig.model_validate(section))


def labelled(source: TransferSource, *, offset: float) -> Sequence[LabelledFrame]:
    """Energies of the centre itself, plus a constant per atom."""
    frames = [
        LabelledFrame(structure=structure, energy=0.0, forces=np.zeros((structure.n_atoms, 3)))
        for structure in thermal_ethanol(5)
    ]
    energies = centre_energies(source, frames)
    return [
        replace(frame, energy=float(energy) + offset * frame.structure.n_atoms)
        for frame, energy in zip(frames, energies, strict=True)
    ]


def centre_energies(source: TransferSource, frames: Sequence[LabelledFrame]) -> np.ndarray:
    function = NetworkFunction(source.network, source.reference, dtype=torch.float64, device="cpu")
    engine = ReferenceEngine(function, source.centre.double()[None])
    energies: np.ndarray = evaluate_held_out(engine, frames, cutoff=4.5).energies[0]
    return energies


def test_centre_is_the_first_sample_or_the_mean_of_its_chain(store: Path) -> None:
    bank = load_bank(Store.open(store, read_only=True), "ethanol")
    first, mean = (source_of(store, centre=centre) for centre in ("first-sample", "mean"))
    assert torch.equal(first.centre, bank.parameters[0])
    # Samples 0 and 2 are of chain 0.
    torch.testing.assert_close(mean.centre, 0.5 * (bank.parameters[0] + bank.parameters[2]))
    assert first.digest == mean.digest == bank.digest


def test_version_may_be_an_alias_or_a_digest(store: Path) -> None:
    stable, candidate = (source_of(store, bank=f"ethanol@{v}") for v in ("stable", "candidate"))
    assert stable.digest != candidate.digest
    short = candidate.digest.removeprefix("sha256:")[:12]
    assert source_of(store, bank=f"ethanol@{short}").digest == candidate.digest
    with pytest.raises(UnknownModel, match="nightly"):
        source_of(store, bank="ethanol@nightly")


def test_network_is_that_of_the_source(store: Path) -> None:
    source = source_of(store)
    assert transfer_network(source, SIZES, labelled(source, offset=0.0)) == NETWORK


def test_every_size_that_differs_is_named(store: Path) -> None:
    other = SIZES.model_copy(update={"n_layers": 3, "readout_hidden": 8})
    with pytest.raises(ConfigurationError) as caught:
        transfer_network(source_of(store), other, [])
    assert "network.n_layers is 3, there 2" in caught.value.detail
    assert "network.readout_hidden is 8, there 16" in caught.value.detail
    assert "cutoff" not in caught.value.detail


def test_element_that_the_source_does_not_know_is_named(store: Path) -> None:
    source = source_of(store)
    frame = labelled(source, offset=0.0)[0]
    numbers = np.where(frame.structure.atomic_numbers == 8, 16, frame.structure.atomic_numbers)
    sulphur = replace(frame, structure=replace(frame.structure, atomic_numbers=numbers))
    with pytest.raises(ConfigurationError, match=r"does not know the elements \[16\]"):
        transfer_network(source, SIZES, [sulphur])


@pytest.mark.parametrize("offset", [0.0, 7.5])
def test_centre_with_its_new_reference_fits_energies_that_differ_by_a_constant(
    store: Path, offset: float
) -> None:
    source = source_of(store)
    frames = labelled(source, offset=offset)
    reference = transfer_reference(source, frames, energy_std_per_sqrt_atom=ENERGY_STD)
    assert reference.scale == REFERENCE.scale
    assert reference.energy_std_per_sqrt_atom == ENERGY_STD
    fitted = centre_energies(replace(source, reference=reference), frames)
    # Energies of 4000 eV in float64, solved by least squares.
    np.testing.assert_allclose(fitted, [frame.energy for frame in frames], atol=1e-8)
    changes = [reference.shifts[z] - REFERENCE.shifts[z] for z in NETWORK.elements]
    # The least change of 6 h + 2 c + o that gives 9 times the offset.
    np.testing.assert_allclose(changes, np.array([6, 2, 1]) * 9 * offset / 41, atol=1e-8)


@pytest.fixture(scope="module")
def frames_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "water.extxyz"
    write_extxyz(path, morse_frames(N_DATA + 60, seed=8))
    return path


def planned(frames_file: Path, folder: Path, **changes: object) -> RunPlan:
    prior = {"kind": "transfer", "bank": "ethanol"} | changes
    config = training_config(files=(frames_file,), network=SIZES.model_dump(), prior=prior)
    return plan_run(config, folder)


def test_members_start_at_the_centre_with_the_network_and_the_scale(
    store: Path, frames_file: Path, tmp_path: Path
) -> None:
    plan = planned(frames_file, tmp_path, store=str(store))
    centre = source_of(store).centre
    assert plan.network == NETWORK
    assert plan.reference.scale == REFERENCE.scale
    with pytest.raises(Stopped):
        run_worker(plan.task((0,)), stop_at_once)
    path = plan.task((0,)).folder / CHECKPOINT
    state = load_checkpoint(path, fingerprint=plan.fingerprint)
    assert int(state["step"]) == 0
    assert torch.equal(state["position"][0], centre)


class Stopped(Exception):
    """The test has seen enough."""


def stop_at_once(progress: Progress) -> None:
    if progress.step:
        raise Stopped


def test_run_is_identified_by_the_digest_of_the_source(
    store: Path, frames_file: Path, tmp_path: Path
) -> None:
    def fingerprint(**changes: object) -> str:
        prior = {"store": str(store)} | changes
        return planned(frames_file, tmp_path, **prior).fingerprint

    base = fingerprint()
    copied = tmp_path / "copy"
    shutil.copytree(store, copied)
    for same in ({"bank": "ethanol@stable"}, {"store": str(copied)}):
        assert fingerprint(**same) == base
    for other in ({"bank": "ethanol@candidate"}, {"centre": "mean"}, {"std": 0.5}):
        assert fingerprint(**other) != base


def test_manifest_names_the_digest_of_the_source(
    store: Path, frames_file: Path, tmp_path: Path
) -> None:
    plan = planned(frames_file, tmp_path, store=str(store))
    prior = sampler_section(plan.config, plan.transfer)["prior"]
    assert prior == {
        "kind": "transfer",
        "bank": "ethanol",
        "centre": "first-sample",
        "std": 0.2,
        "source": source_of(store).digest,
    }
