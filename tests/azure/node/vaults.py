"""python -m node.vaults: the Secrets Store CSI driver of one node with the Azure provider; Secrets play the vaults.

The Secret of a vault's name in the namespace azure is the vault: its keys are the names of secrets, with
`.<version>` behind those that are asked for by version. It refuses what the real driver refuses.
"""

import base64
import json
import subprocess
import urllib.error
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import csi_pb2

from node import api, csi
from node.attributes import Rejected
from node.mounts import is_mounted

DRIVER = "secrets-store.csi.k8s.io"
_CLASSES = "/apis/secrets-store.csi.x-k8s.io/v1"
_AUDIENCE = "api://AzureADTokenExchange"


class VaultNode(csi.Node):
    """Fetches, writes files, and keeps Secrets."""

    def publish(self, request: csi_pb2.PublishRequest) -> None:
        attributes, target = request.volume_context, Path(request.target_path)
        if is_mounted(target):
            return
        if not request.readonly:
            raise Rejected("INVALID_ARGUMENT", "Readonly is not true in request")
        namespace = attributes["csi.storage.k8s.io/pod.namespace"]
        name = attributes["secretProviderClass"]
        spec = _get(f"{_CLASSES}/namespaces/{namespace}/secretproviderclasses/{name}")["spec"]
        tokens = json.loads(attributes.get("csi.storage.k8s.io/serviceAccount.tokens", "{}"))
        files = _fetched(spec["parameters"], tokens)
        pod = _get(f"/api/v1/namespaces/{namespace}/pods/{attributes['csi.storage.k8s.io/pod.name']}")
        for wanted in spec.get("secretObjects", []):
            _keep(namespace, wanted, files, pod["metadata"]["ownerReferences"])
        target.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", target], check=True)
        for file, content in files.items():
            (target / file).write_bytes(content)

    def unpublish(self, target: Path) -> None:
        if is_mounted(target):
            subprocess.run(["umount", target], check=True)
        if target.exists():
            target.rmdir()


def _fetched(parameters: Mapping[str, str], tokens: Mapping[str, Any]) -> dict[str, bytes]:
    """File name → content, as the provider hands it to the driver."""
    for name in ("keyvaultName", "tenantID", "clientID", "objects"):
        if not parameters.get(name):
            raise Rejected("UNKNOWN", f"{name} is not provided")
    if _AUDIENCE not in tokens:
        raise Rejected("UNKNOWN", f"service account token for audience {_AUDIENCE} not found")
    vault = _get(f"/api/v1/namespaces/azure/secrets/{parameters['keyvaultName']}")["data"]
    files = {}
    for text in json.loads(parameters["objects"])["array"]:
        item = json.loads(text)
        name, version = item["objectName"], item["objectVersion"]
        key = f"{name}.{version}" if version else name
        if item["objectType"] != "secret" or key not in vault:
            where = f"objectType:{item['objectType']}, objectName:{name}, objectVersion:{version}"
            raise Rejected("UNKNOWN", f"failed to mount objects, error: failed to get {where}: SecretNotFound")
        files[item["objectAlias"]] = base64.b64decode(vault[key])
    return files


def _keep(namespace: str, wanted: Mapping[str, Any], files: Mapping[str, bytes], owners: list[dict[str, Any]]) -> None:
    """A Secret of the files, owned by what owns the pod; one that is there stays."""
    keys = ("apiVersion", "kind", "name", "uid")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": wanted["secretName"],
            "labels": wanted.get("labels", {}),
            "ownerReferences": [{key: owner[key] for key in keys} for owner in owners],
        },
        "type": wanted["type"],
        "data": {entry["key"]: base64.b64encode(files[entry["objectName"]]).decode() for entry in wanted["data"]},
    }
    try:
        api.create(f"/api/v1/namespaces/{namespace}/secrets", secret)
    except urllib.error.HTTPError as error:
        if error.code != 409:
            raise Rejected("UNKNOWN", f"failed to create secret {wanted['secretName']}: HTTP {error.code}") from error


def _get(path: str) -> dict[str, Any]:
    try:
        return api.get(path)
    except urllib.error.HTTPError as error:
        raise Rejected("UNKNOWN", f"failed to get {path}: HTTP status {error.code}") from error


if __name__ == "__main__":
    csi.serve({DRIVER: VaultNode()})
