"""What end-to-end tests do with a cluster: a namespace with a workspace, a one-node cluster and storage."""

import base64
import json
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobServiceClient
from azure.storage.fileshare import ShareServiceClient
from tests.e2e.api import Api

IMAGE = "batchai-test/azure:dev"
OPERATOR = "batchai-system"
UNTIL_TOLD = "until [ -e $AZ_BATCHAI_OUTPUT_MODEL/told ]; do sleep 0.2; done"
"""A job that ends well when a test calls `Space.tell`."""


class Cluster:
    """kubectl with the kubeconfig of the environment."""

    def __init__(self) -> None:
        self._api = Api()

    def kubectl(self, *arguments: str, data: str | None = None, check: bool = True) -> str:
        done = subprocess.run(
            ["kubectl", *arguments], input=data, capture_output=True, text=True, check=False, timeout=180
        )
        assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def get(self, kind: str, name: str, namespace: str = "") -> dict[str, Any]:
        return self._api.get(kind, name, namespace)

    def list(self, kind: str, namespace: str = "", selector: str = "") -> list[dict[str, Any]]:
        return self._api.list(kind, namespace, selector)

    def apply(self, *manifests: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", data=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))

    @contextmanager
    def operator_settings(self, **values: str) -> Iterator[None]:
        """Runs the operator with variables of its Deployment; then they are as they were."""

        def choose(settings: Iterable[str]) -> None:
            self.kubectl("set", "env", "deployment/batchai-operator", "-n", OPERATOR, *settings)
            self.kubectl("rollout", "status", "deployment/batchai-operator", "-n", OPERATOR, "--timeout=120s")

        (container,) = self.get("deployment", "batchai-operator", OPERATOR)["spec"]["template"]["spec"]["containers"]
        before = {variable["name"]: variable.get("value", "") for variable in container["env"]}
        choose(f"{name}={value}" for name, value in values.items())
        try:
            yield
        finally:
            choose(f"{name}={before[name]}" if name in before else f"{name}-" for name in values)


@dataclass(frozen=True)
class Storage:
    """The storage account of the stand-ins."""

    account: str
    key: str
    connection: str

    @property
    def files(self) -> ShareServiceClient:
        return ShareServiceClient.from_connection_string(self.connection)

    @property
    def blobs(self) -> BlobServiceClient:
        return BlobServiceClient.from_connection_string(self.connection)


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 90) -> None:
    """Waits for a condition; says what did not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.3)


class Space:
    """A namespace, and in storage a share and a container, all of one name."""

    def __init__(self, cluster: Cluster, storage: Storage, name: str) -> None:
        self.cluster = cluster
        self.storage = storage
        self.namespace = name

    def make(self, nodes: int = 1) -> None:
        """The namespace with everything; `nodes` of the cluster nc6."""
        self.storage.files.create_share(self.namespace)
        self.storage.blobs.create_container(self.namespace)
        self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})
        self.make_secret(f"batchai-storage-{self.storage.account}")
        self.cluster.apply(
            self.resource("Workspace", "work", {}), self.resource("Experiment", "exp", {"workspace": "work"})
        )
        self.make_cluster("nc6", {"manual": {"targetNodeCount": nodes}})

    def make_cluster(self, name: str, scale: dict[str, Any], **spec: Any) -> None:
        given = {"workspace": "work", "vmSize": "STANDARD_NC6", "scaleSettings": scale, **spec}
        self.cluster.apply(self.resource("Cluster", name, given))

    def scale(self, name: str, **settings: Any) -> None:
        """Sets a cluster's manual or autoScale settings, in the place of the other."""
        both = {"manual": None, "autoScale": None, **settings}
        body = json.dumps({"spec": {"scaleSettings": both}})
        self.cluster.kubectl("patch", "bcluster", name, "-n", self.namespace, "--type", "merge", "-p", body)

    def expect_no_more_nodes(self, name: str) -> None:
        """Lets a cluster's nodes have been missing for longer than it waits for them, which is 15 minutes."""
        conditions = self.cluster.get("bcluster", name, self.namespace)["status"]["conditions"]
        for condition in conditions:
            if condition["type"] == "NodesAvailable":
                condition["lastTransitionTime"] = "2026-01-01T00:00:00Z"
        self.patch_status("bcluster", name, {"conditions": conditions})

    def patch_status(self, kind: str, name: str, status: dict[str, Any]) -> None:
        body = json.dumps({"status": status})
        place = ("-n", self.namespace, "--subresource=status", "--type", "merge")
        self.cluster.kubectl("patch", kind, name, *place, "-p", body)

    def counts(self, name: str) -> dict[str, int]:
        """State → nodes of a cluster in it, and `total`."""
        status = self.cluster.get("bcluster", name, self.namespace).get("status", {})
        states = {key.removesuffix("NodeCount"): value for key, value in status.get("nodeStateCounts", {}).items()}
        return {**states, "total": status.get("currentNodeCount", -1)}

    def clear(self) -> None:
        """Deletes jobs and clusters; the nodes are free then.

        A namespace whose pods still end is deleted only after half of their grace period, however soon they end.
        """
        self.cluster.kubectl("delete", "bjob,bcluster", "--all", "-n", self.namespace, "--timeout=120s")
        self.wait_until(lambda: not self.cluster.list("pods", self.namespace, "batchai.dev/job"), "no job has a pod")
        owned = f"batchai.dev/cluster-namespace={self.namespace}"
        self.wait_until(lambda: not self.cluster.list("nodes", selector=owned), "the nodes are free")

    def remove(self) -> None:
        self.clear()
        # Kubernetes takes its time; what is left has names of its own.
        self.cluster.kubectl("delete", "namespace", self.namespace, "--wait=false")
        self.storage.files.delete_share(self.namespace)
        self.storage.blobs.delete_container(self.namespace)

    def make_secret(self, name: str) -> None:
        values = {"azurestorageaccountname": self.storage.account, "azurestorageaccountkey": self.storage.key}
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        metadata = {"name": name, "namespace": self.namespace}
        self.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})

    # --- jobs -------------------------------------------------------------------------------------------------

    def mount_volumes(self) -> dict[str, list[dict[str, Any]]]:
        url = f"https://{self.storage.account}.file.core.windows.net/{self.namespace}"
        return {
            "azureFileShares": [{"azureFileUrl": url, "relativeMountPath": "logs"}],
            "azureBlobFileSystems": [
                {"accountName": self.storage.account, "containerName": self.namespace, "relativeMountPath": "data"}
            ],
        }

    def manifest(self, name: str, command: str | None, **spec: Any) -> dict[str, Any]:
        """A job that runs a command, or the toolkit of `spec` when there is none."""
        custom = {"customToolkitSettings": {"commandLine": command}} if command else {}
        return self.resource(
            "Job",
            name,
            {
                "experiment": "exp",
                "cluster": "nc6",
                "nodeCount": 1,
                "stdOutErrPathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs",
                "outputDirectories": [{"id": "MODEL", "pathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs"}],
                "mountVolumes": self.mount_volumes(),
                "containerSettings": {"imageSourceRegistry": {"image": IMAGE}},
                **custom,
                **spec,
            },
        )

    def submit(self, name: str, command: str | None, *, blobs: dict[str, bytes] | None = None, **spec: Any) -> None:
        container = self.storage.blobs.get_container_client(self.namespace)
        for path, data in (blobs or {}).items():
            container.upload_blob(path, data, overwrite=True)
        self.cluster.apply(self.manifest(name, command, **spec))

    def run(
        self, name: str, command: str | None, *, succeeds: bool = True, seconds: float = 90, **spec: Any
    ) -> dict[str, Any]:
        self.submit(name, command, **spec)
        job = self.finished(name, seconds)
        assert (job["status"]["executionState"] == "succeeded") == succeeds, json.dumps(job["status"], indent=1)
        return job

    def job(self, name: str) -> dict[str, Any]:
        return self.cluster.get("bjob", name, self.namespace)

    def state(self, name: str) -> str | None:
        state: str | None = self.job(name).get("status", {}).get("executionState")
        return state

    def wait_for_state(self, name: str, state: str) -> None:
        self.wait_until(lambda: self.state(name) == state, f"job {name} is {state}")

    def finished(self, name: str, seconds: float = 90) -> dict[str, Any]:
        self.wait_until(lambda: self.state(name) in {"succeeded", "failed"}, f"job {name} ends", seconds)
        return self.job(name)

    def tell(self, name: str) -> None:
        """Lets a job end that runs UNTIL_TOLD."""

        def told() -> bool:
            share = self.storage.files.get_share_client(self.namespace)
            try:
                share.get_file_client(self._path(name, "outputs/told")).upload_file(b"")
            except ResourceNotFoundError:
                return False
            return True

        self.wait_until(told, f"job {name} has its directories")

    def terminate(self, name: str) -> None:
        self.cluster.kubectl(
            "patch", "bjob", name, "-n", self.namespace, "--type", "merge", "-p", '{"spec":{"terminate":true}}'
        )

    def pods(self, name: str) -> list[dict[str, Any]]:
        return self.cluster.list("pods", self.namespace, f"batchai.dev/job={name}")

    @staticmethod
    def wait_until(condition: Callable[[], Any], what: str, seconds: float = 90) -> None:
        wait_until(condition, what, seconds)

    # --- files ------------------------------------------------------------------------------------------------

    def _path(self, name: str, path: str) -> str:
        return f"{self.job(name)['status']['jobOutputDirectoryPathSegment']}/{path}"

    def read_share(self, path: str) -> bytes:
        file = self.storage.files.get_share_client(self.namespace).get_file_client(path)
        data: bytes = file.download_file().readall() if file.get_file_properties().size else b""
        return data

    def read_output(self, name: str, path: str) -> bytes:
        return self.read_share(self._path(name, path))

    def try_read_output(self, name: str, path: str) -> bytes | None:
        if "jobOutputDirectoryPathSegment" not in self.job(name).get("status", {}):
            return None
        try:
            return self.read_output(name, path)
        except ResourceNotFoundError:
            return None

    def list_output(self, name: str, path: str) -> list[str]:
        share = self.storage.files.get_share_client(self.namespace)
        return sorted(item["name"] for item in share.list_directories_and_files(self._path(name, path)))

    # --- the operator -----------------------------------------------------------------------------------------

    def kill_operator(self) -> None:
        before = {pod["metadata"]["uid"] for pod in self.cluster.list("pods", OPERATOR)}
        self.cluster.kubectl("delete", "pods", "--all", "-n", OPERATOR, "--grace-period=0", "--force")
        self.wait_until(lambda: self._operator_works(before), "a new operator works")

    @contextmanager
    def operator_stopped(self) -> Iterator[None]:
        self.cluster.kubectl("scale", "deployment", "batchai-operator", "-n", OPERATOR, "--replicas=0")
        try:
            self.wait_until(lambda: not self.cluster.list("pods", OPERATOR), "the operator is gone")
            yield
        finally:
            self.cluster.kubectl("scale", "deployment", "batchai-operator", "-n", OPERATOR, "--replicas=1")
            self.wait_until(lambda: self._operator_works(set()), "the operator works again")

    def _operator_works(self, before: set[str]) -> bool:
        pods = [pod for pod in self.cluster.list("pods", OPERATOR) if pod["metadata"]["uid"] not in before]
        return any(status["ready"] for pod in pods for status in pod.get("status", {}).get("containerStatuses", []))

    def resource(self, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        metadata = {"name": name, "namespace": self.namespace}
        return {"apiVersion": "batchai.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
