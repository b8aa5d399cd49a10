"""The overlays validate, each kind of mistake is caught, and the promises of security hold."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import ray

from posterion.serving.app import DEPLOYMENT, build
from posterion.serving.settings import ServeSettings

Manifest = dict[str, Any]
Find = Callable[[str, str], Manifest]


def _cluster(manifest: Manifest) -> Manifest:
    """The RayCluster part of a RayService or RayJob."""
    spec = manifest["spec"]
    found: Manifest = spec.get("rayClusterConfig") or spec["rayClusterSpec"]
    return found


def _worker_pod(manifest: Manifest) -> Manifest:
    found: Manifest = _cluster(manifest)["workerGroupSpecs"][0]["template"]["spec"]
    return found


def _pods(checker: ModuleType, manifests: list[Manifest]) -> list[Manifest]:
    return [template["spec"] for m in manifests for template in checker.pod_templates(m)]


def test_every_object_validates(checker: ModuleType, manifests: list[Manifest]) -> None:
    assert [fault for manifest in manifests for fault in checker.faults(manifest)] == []


def _rename(manifest: Manifest, old: str, new: str) -> None:
    manifest[new] = manifest.pop(old)


MISTAKES: dict[str, tuple[Callable[[Manifest], object], str]] = {
    "misspelt cluster field": (
        lambda m: _rename(_cluster(m), "workerGroupSpecs", "workerGroupSpec"),
        "workerGroupSpec",
    ),
    "misspelt pod field": (
        lambda m: _rename(_worker_pod(m), "serviceAccountName", "serviceAcountName"),
        "serviceAcountName",
    ),
    "text where a number belongs": (
        lambda m: _worker_pod(m)["securityContext"].update(runAsUser="x"),
        "runAsUser",
    ),
    "no authentication": (lambda m: _cluster(m).pop("authOptions"), "authOptions"),
    "authentication switched off": (
        lambda m: _cluster(m)["authOptions"].update(mode="disabled"),
        "authOptions",
    ),
    "a number as a start parameter": (
        lambda m: _cluster(m)["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}),
        "num-cpus",
    ),
    "misspelt deployment key": (
        lambda m: _edit_serve(m, "num_replicas:", "num_replica:"),
        "/applications/0/deployments/0/num_replica: unknown",
    ),
    "misspelt actor option": (
        lambda m: _edit_serve(m, "num_cpus:", "num_cpu:"),
        "/ray_actor_options/num_cpu: unknown",
    ),
    "misspelt HTTP option": (
        lambda m: _edit_serve(m, "port: 8000", "ports: 8000"),
        "/http_options/ports: unknown",
    ),
    "impossible value in the Serve configuration": (
        lambda m: _edit_serve(m, "rolling_update_percentage: 0.5", "rolling_update_percentage: 5"),
        "rolling_update_percentage",
    ),
}


def _edit_serve(manifest: Manifest, old: str, new: str) -> None:
    assert old in manifest["spec"]["serveConfigV2"]
    manifest["spec"]["serveConfigV2"] = manifest["spec"]["serveConfigV2"].replace(old, new)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_service_is_named(checker: ModuleType, find: Find, mistake: str) -> None:
    service = find("RayService", "posterion")
    make, named = MISTAKES[mistake]
    make(service)
    assert any(named in fault for fault in checker.faults(service))


def test_a_misspelt_key_of_a_kubernetes_object_is_named(checker: ModuleType, find: Find) -> None:
    policy = find("NetworkPolicy", "serving-http")
    _rename(policy["spec"]["ingress"][0], "ports", "prots")
    assert any("prots" in fault for fault in checker.faults(policy))


def test_a_suspended_job_must_own_its_cluster(checker: ModuleType, find: Find) -> None:
    job = find("RayJob", "posterion-train")
    assert job["spec"]["suspend"] is True
    job["spec"]["shutdownAfterJobFinishes"] = False
    assert any("shutdownAfterJobFinishes" in fault for fault in checker.faults(job))


def test_an_object_of_an_unknown_ray_kind_is_refused(checker: ModuleType) -> None:
    stray = {"apiVersion": "ray.io/v1", "kind": "RayCronJob", "metadata": {"name": "x"}, "spec": {}}
    assert checker.faults(stray) == [
        "RayCronJob/x: kind is not described by kuberay-v1.schema.json"
    ]


def test_no_pod_has_privileges(checker: ModuleType, manifests: list[Manifest]) -> None:
    for pod in _pods(checker, manifests):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_every_container_is_bounded_probed_and_pinned(
    checker: ModuleType, manifests: list[Manifest]
) -> None:
    for pod in _pods(checker, manifests):
        for container in pod["containers"]:
            assert {"readinessProbe", "livenessProbe"} <= container.keys()
            assert container["resources"]["limits"].keys() >= {"cpu", "memory"}
            assert container["image"].rpartition(":")[2] not in {"", "latest", "posterion"}


def test_every_ray_pod_can_write_where_ray_writes(
    checker: ModuleType, manifests: list[Manifest]
) -> None:
    ray_objects = [m for m in manifests if m["apiVersion"].startswith("ray.io/")]
    for pod in _pods(checker, ray_objects):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounts = {m["mountPath"]: m["name"] for m in pod["containers"][0]["volumeMounts"]}
        for path in ("/tmp", "/dev/shm"):  # noqa: S108 - mount points, not files of this test
            assert "emptyDir" in volumes[mounts[path]]


def test_only_the_http_port_is_open_to_other_namespaces(manifests: list[Manifest]) -> None:
    opened = {
        (policy["metadata"]["name"], port["port"])
        for policy in manifests
        if policy["kind"] == "NetworkPolicy"
        for rule in policy["spec"].get("ingress", [])
        if any("namespaceSelector" in peer for peer in rule["from"])
        for port in rule["ports"]
    }
    assert opened == {
        ("serving-http", 8000),
        ("serving-operator", 8265),
        ("training-members", 8265),
    }


def test_everything_is_denied_unless_a_policy_allows_it(find: Find) -> None:
    spec = find("NetworkPolicy", "default-deny")["spec"]
    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_the_disruption_budget_leaves_room_to_drain(find: Find) -> None:
    workers = _cluster(find("RayService", "posterion"))["workerGroupSpecs"][0]["replicas"]
    assert 0 < find("PodDisruptionBudget", "posterion-workers")["spec"]["minAvailable"] < workers


def test_ray_of_the_manifests_is_ray_of_the_suite(manifests: list[Manifest]) -> None:
    versions = {
        _cluster(m)["rayVersion"] for m in manifests if m["apiVersion"].startswith("ray.io/")
    }
    assert versions == {ray.__version__}


def _application(checker: ModuleType, manifests: list[Manifest]) -> Manifest:
    """The one application of an overlay's serveConfigV2."""
    service = next(m for m in manifests if m["kind"] == "RayService")
    (application,) = checker.serve_config(service)["applications"]
    found: Manifest = application
    return found


def test_the_application_is_one_that_the_service_builds(
    checker: ModuleType, manifests: list[Manifest]
) -> None:
    application = _application(checker, manifests)
    (deployment,) = application["deployments"]
    assert application["import_path"] == f"{build.__module__}:{build.__name__}"
    assert deployment["name"] == DEPLOYMENT


def test_arguments_are_settings_and_agree_with_what_ray_reserves(
    checker: ModuleType, manifests: list[Manifest]
) -> None:
    application = _application(checker, manifests)
    settings = ServeSettings.model_validate(application["args"])
    options = application["deployments"][0]["ray_actor_options"]
    assert options["num_cpus"] == settings.n_cpus
    reserved = settings.gpus_per_replica if settings.device == "cuda" else 0
    assert options.get("num_gpus", 0) == reserved


def test_an_accelerator_is_reserved_by_the_pod_and_by_the_replica(
    checker: ModuleType, rendered: dict[str, list[Manifest]]
) -> None:
    service = next(m for m in rendered["gpu"] if m["kind"] == "RayService")
    (deployment,) = _application(checker, rendered["gpu"])["deployments"]
    group = _cluster(service)["workerGroupSpecs"][0]
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert deployment["ray_actor_options"]["num_gpus"] == 1
    assert limits["nvidia.com/gpu"] == "1"
    # The surge of a rolling update needs a free worker.
    assert group["replicas"] > deployment["num_replicas"]
    assert deployment["max_surge_percent"] > 0


def test_replicas_stop_before_the_kubelet_kills_them(
    checker: ModuleType, manifests: list[Manifest], find: Find
) -> None:
    settings = ServeSettings.model_validate(_application(checker, manifests)["args"])
    grace = _worker_pod(find("RayService", "posterion"))["terminationGracePeriodSeconds"]
    assert settings.drain_timeout_s < grace
