"""The operator as it is installed: its rights, its pod, and what happens around its resources."""

import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.e2e.jobs import OPERATOR, Cluster, Space, Storage, wait_until

ACCOUNT = "system:serviceaccount:batchai-system:batchai-operator"


@pytest.mark.parametrize(
    ("allowed", "verb", "resource"),
    [
        (True, "create", "pods"),
        (True, "patch", "jobs.batchai.dev/status"),
        (True, "patch", "nodes"),
        (True, "create", "secrets"),
        (True, "create", "events.events.k8s.io"),
        (True, "create", "podtemplates"),
        (False, "get", "podtemplates"),
        (False, "delete", "events.events.k8s.io"),
        (False, "get", "secrets"),
        (False, "list", "secrets"),
        (False, "watch", "secrets"),
        (False, "delete", "nodes"),
        (False, "delete", "jobs.batchai.dev"),
        (False, "create", "clusterroles.rbac.authorization.k8s.io"),
        (False, "update", "customresourcedefinitions.apiextensions.k8s.io"),
    ],
)
def test_rights(cluster: Cluster, verb: str, resource: str, *, allowed: bool) -> None:
    answer = cluster.kubectl("auth", "can-i", verb, resource, "--as", ACCOUNT, "-n", "default", check=False)
    assert answer.strip() == ("yes" if allowed else "no")


def test_pod_is_restricted_and_answers_probes(cluster: Cluster) -> None:
    labels = cluster.get("namespace", OPERATOR)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    (pod,) = cluster.list("pods", OPERATOR)
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    name = pod["metadata"]["name"]
    path = f"/api/v1/namespaces/{OPERATOR}/pods/{name}:8080/proxy/healthz"
    assert "health" in cluster.kubectl("get", "--raw", path)


@pytest.fixture
def bare(cluster: Cluster, storage: Storage) -> Iterator[Space]:
    space = Space(cluster, storage, f"e2e-{uuid.uuid4().hex[:8]}")
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space.namespace}})
    yield space
    space.clear()
    cluster.kubectl("delete", "namespace", space.namespace, "--wait=false")


def _owned(cluster: Cluster, space: Space, name: str) -> list[str]:
    selector = f"batchai.dev/cluster={name},batchai.dev/cluster-namespace={space.namespace}"
    return [node["metadata"]["name"] for node in cluster.list("nodes", selector=selector)]


def _cluster(space: Space, name: str, nodes: int) -> dict[str, object]:
    spec = {"workspace": "work", "vmSize": "standard_nc6", "scaleSettings": {"manual": {"targetNodeCount": nodes}}}
    return space.resource("Cluster", name, spec)


def test_everything_waits_for_what_it_belongs_to_and_goes_with_it(cluster: Cluster, bare: Space) -> None:
    job = bare.manifest("job", "true", mountVolumes=None, outputDirectories=None)
    job["spec"]["stdOutErrPathPrefix"] = "$AZ_BATCHAI_JOB_TEMP_DIR"
    cluster.apply(job)

    def waits() -> str | None:
        reason: str | None = (bare.job("job").get("status", {}).get("waiting") or {}).get("reason")
        return reason

    bare.wait_until(lambda: waits() == "ExperimentNotFound", "the job waits for its experiment")
    assert bare.state("job") == "queued"
    cluster.apply(bare.resource("Experiment", "exp", {"workspace": "work"}))

    def ready() -> str:
        conditions = cluster.get("bexp", "exp", bare.namespace).get("status", {}).get("conditions", [{}])
        return str(conditions[0].get("reason"))

    bare.wait_until(lambda: ready() == "WorkspaceNotFound", "the experiment waits for its workspace")
    cluster.apply(bare.resource("Workspace", "work", {}))
    bare.wait_until(lambda: ready() == "Provisioned", "the experiment is there")
    bare.wait_until(lambda: waits() == "ClusterNotFound", "the job waits for its cluster")
    cluster.apply(_cluster(bare, "nc6", 1))
    assert bare.finished("job")["status"]["executionState"] == "succeeded"
    assert len(_owned(cluster, bare, "nc6")) == 1
    cluster.kubectl("delete", "bws", "work", "-n", bare.namespace, "--timeout=60s")
    for kind in ("bcluster", "bexp", "bjob", "pods"):
        bare.wait_until(lambda kind=kind: not cluster.list(kind, bare.namespace), f"no {kind} is left", seconds=60)
    bare.wait_until(lambda: not _owned(cluster, bare, "nc6"), "the node is given back")


def test_two_clusters_never_own_one_node_and_resizing_gives_nodes_back(cluster: Cluster, bare: Space) -> None:
    cluster.apply(bare.resource("Workspace", "work", {}), _cluster(bare, "one", 3), _cluster(bare, "two", 3))

    def counts(name: str) -> dict[str, int]:
        status = cluster.get("bcluster", name, bare.namespace).get("status", {})
        return {"current": status.get("currentNodeCount", -1), **status.get("nodeStateCounts", {})}

    bare.wait_until(lambda: counts("one")["current"] + counts("two")["current"] == 3, "all nodes are owned once")
    # The same node in both would be counted twice now or at the next look.
    for _ in range(5):
        time.sleep(0.5)
        sizes = {name: len(_owned(cluster, bare, name)) for name in ("one", "two")}
        assert sum(sizes.values()) == 3
        assert sizes == {name: counts(name)["current"] for name in sizes}
    bigger = max(("one", "two"), key=lambda name: counts(name)["current"])
    other = "two" if bigger == "one" else "one"
    subprocess.run(
        ["kubectl", "scale", f"clusters.batchai.dev/{bigger}", "-n", bare.namespace, "--replicas=0"], check=True
    )
    bare.wait_until(lambda: counts(other)["current"] == 3, "the other cluster gets the nodes")
    assert _owned(cluster, bare, bigger) == []


def _replicas(cluster: Cluster) -> dict[str, bool]:
    """Pod → whether it is ready."""
    return {
        pod["metadata"]["name"]: any(status["ready"] for status in pod["status"].get("containerStatuses", []))
        for pod in cluster.list("pods", OPERATOR)
    }


def _active(cluster: Cluster) -> str:
    holder: str = cluster.get("lease", "batchai-operator", OPERATOR)["spec"]["holderIdentity"]
    return holder


@contextmanager
def _two_replicas(cluster: Cluster) -> Iterator[None]:
    scale = ("scale", "deployment", "batchai-operator", "-n", OPERATOR)
    cluster.kubectl(*scale, "--replicas=2")
    try:
        wait_until(lambda: sorted(_replicas(cluster).values()) == [False, True], "the second replica waits")
        yield
    finally:
        cluster.kubectl(*scale, "--replicas=1")
        wait_until(lambda: list(_replicas(cluster).values()) == [True], "one replica is left")


def test_a_second_replica_takes_over_while_a_job_runs(cluster: Cluster, bare: Space) -> None:
    job = bare.manifest("job", "sleep 600", mountVolumes=None, outputDirectories=None)
    job["spec"]["stdOutErrPathPrefix"] = "$AZ_BATCHAI_JOB_TEMP_DIR"
    experiment = bare.resource("Experiment", "exp", {"workspace": "work"})
    with _two_replicas(cluster):
        cluster.apply(bare.resource("Workspace", "work", {}), experiment, _cluster(bare, "nc6", 1), job)
        bare.wait_until(lambda: [pod["status"]["phase"] for pod in bare.pods("job")] == ["Running"], "the job runs")
        before = [pod["metadata"]["uid"] for pod in bare.pods("job")]
        first = _active(cluster)
        cluster.kubectl("delete", "pod", first, "-n", OPERATOR, "--grace-period=0", "--force")
        bare.wait_until(
            lambda: (active := _active(cluster)) != first and _replicas(cluster).get(active), "another works", 60
        )
        assert bare.state("job") == "running"
        assert [pod["metadata"]["uid"] for pod in bare.pods("job")] == before
        bare.terminate("job")
        status = bare.finished("job")["status"]
    assert (status["executionInfo"]["errors"][0]["code"], status["attempt"]) == ("JobTerminated", 1)


def test_a_namespace_has_no_more_clusters_than_it_may(cluster: Cluster, bare: Space) -> None:
    def state(name: str) -> str | None:
        found: str | None = cluster.get("bcluster", name, bare.namespace).get("status", {}).get("provisioningState")
        return found

    cluster.apply(bare.resource("Workspace", "work", {}), _cluster(bare, "one", 0))
    bare.wait_until(lambda: state("one") == "succeeded", "the first cluster")
    time.sleep(1)  # times of creation have whole seconds
    with cluster.operator_settings(BATCHAI_CLUSTERS_PER_NAMESPACE="1"):
        cluster.apply(_cluster(bare, "two", 1))
        bare.wait_until(lambda: state("two") == "failed", "the second one is refused")
        (error,) = cluster.get("bcluster", "two", bare.namespace)["status"]["errors"]
        assert error["code"] == "ClusterQuotaReached"
        assert "allowed is 1" in error["message"]
        assert state("one") == "succeeded"
        cluster.kubectl("delete", "bcluster", "one", "-n", bare.namespace)
        bare.wait_until(lambda: state("two") == "succeeded", "there is room now", seconds=40)
