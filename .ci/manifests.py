#!/usr/bin/env python3
"""Whether the manifests that an overlay renders to would be accepted, told without a cluster.

`kubectl kustomize` renders an overlay. Objects that Kubernetes itself defines are validated
against its published schemas, strictly. Ray's own objects are validated against
`kuberay-v1.schema.json`, every pod template in them as a Pod, and every serveConfigV2 against
Ray's model of it, which alone would let a misspelt key pass.

Usage: manifests.py OVERLAY...
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema
import kubernetes_validate
import yaml
from pydantic import BaseModel, ValidationError
from ray.serve.schema import ServeDeploySchema

KUBERNETES_VERSION = "1.33"
_SCHEMA = json.loads(Path(__file__).with_name("kuberay-v1.schema.json").read_text("utf-8"))


def render(overlay: Path) -> list[dict[str, Any]]:
    """Render an overlay with kustomize.

    Args:
        overlay: Folder that holds a ``kustomization.yaml``.

    Returns:
        The objects, in the order kubectl would apply them.

    Raises:
        RuntimeError: If kubectl refuses the overlay; the message is kubectl's own.
    """
    done = subprocess.run(
        ["kubectl", "kustomize", str(overlay)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0 or done.stderr:
        raise RuntimeError(f"{overlay}: {done.stderr.strip()}")
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def faults(manifest: dict[str, Any]) -> list[str]:
    """List what is wrong with one object, as ``KIND/NAME: fault``."""
    name = f"{manifest.get('kind')}/{manifest.get('metadata', {}).get('name')}"
    if str(manifest.get("apiVersion", "")).startswith("ray.io/"):
        found = [*_ray_faults(manifest), *_pod_faults(manifest), *_serve_faults(manifest)]
    else:
        found = _kubernetes_faults(manifest)
    return [f"{name}: {fault}" for fault in found]


def pod_templates(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the pod templates of an object, wherever they are nested."""
    for key, value in manifest.items():
        if key == "template" and isinstance(value, dict):
            yield value
        elif isinstance(value, dict):
            yield from pod_templates(value)
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, dict):
                    yield from pod_templates(item)


def serve_config(manifest: dict[str, Any]) -> dict[str, Any] | None:
    """Return the parsed serveConfigV2 of a RayService, None for any other object."""
    text = manifest.get("spec", {}).get("serveConfigV2")
    return None if text is None else yaml.safe_load(text)


def unknown_keys(data: object, model: type[BaseModel], path: str = "") -> list[str]:
    """List the keys of a document that its pydantic model does not have.

    Args:
        data: Parsed document.
        model: Model whose fields the keys must name.
        path: Where in the whole document ``data`` stands.

    Returns:
        JSON pointers of the unknown keys. Free-form fields (plain ``dict``) are not searched.
    """
    if isinstance(data, list):
        items = (unknown_keys(item, model, f"{path}/{i}") for i, item in enumerate(data))
        return [pointer for pointers in items for pointer in pointers]
    if not isinstance(data, dict):
        return []
    found = [f"{path}/{key}" for key in data if key not in model.model_fields]
    for key, field in model.model_fields.items():
        nested = _nested_model(field.annotation)
        if key in data and nested is not None:
            found += unknown_keys(data[key], nested, f"{path}/{key}")
    return found


def _nested_model(annotation: object) -> type[BaseModel] | None:
    """Find the pydantic model inside an annotation such as ``list[Model] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for m in map(_nested_model, get_args(annotation)) if m is not None), None)


def _kubernetes_faults(manifest: dict[str, Any]) -> list[str]:
    try:
        kubernetes_validate.validate(manifest, KUBERNETES_VERSION, strict=True)
    except kubernetes_validate.ValidationError as fault:
        where = "/".join(str(part) for part in fault.path)
        return [f"/{where}: {fault.message}"]
    return []


def _ray_faults(manifest: dict[str, Any]) -> list[str]:
    definition = {"$ref": f"#/definitions/{manifest.get('kind')}"}
    schema = {"definitions": _SCHEMA["definitions"], "allOf": [definition]}
    if manifest.get("kind") not in _SCHEMA["definitions"]:
        return ["kind is not described by kuberay-v1.schema.json"]
    return [
        f"/{'/'.join(str(part) for part in fault.absolute_path)}: {fault.message}"
        for fault in jsonschema.Draft7Validator(schema).iter_errors(manifest)
    ]


def _pod_faults(manifest: dict[str, Any]) -> list[str]:
    found = []
    for template in pod_templates(manifest):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}} | template
        pod["metadata"] = {"name": "pod"} | template.get("metadata", {})
        found += [f"pod template: {fault}" for fault in _kubernetes_faults(pod)]
    return found


def _serve_faults(manifest: dict[str, Any]) -> list[str]:
    config = serve_config(manifest)
    if config is None:
        return []
    found = [f"serveConfigV2: {key}: unknown" for key in unknown_keys(config, ServeDeploySchema)]
    try:
        ServeDeploySchema.model_validate(config)
    except ValidationError as fault:
        found += [
            f"serveConfigV2: /{'/'.join(map(str, error['loc']))}: {error['msg']}"
            for error in fault.errors()
        ]
    return found


def main(overlays: list[str]) -> int:
    """Validate every overlay; print one line per fault and one per overlay."""
    if not overlays:
        print(__doc__)
        return 2
    n_faults = 0
    for overlay in overlays:
        manifests = render(Path(overlay))
        found = [fault for manifest in manifests for fault in faults(manifest)]
        n_faults += len(found)
        print(f"{overlay}: {len(manifests)} objects, {len(found)} faults", *found, sep="\n  ")
    return 1 if n_faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
