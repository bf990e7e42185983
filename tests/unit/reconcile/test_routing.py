from typing import Any

from batchai.kube.client import KINDS
from batchai.kube.store import ObjectStore
from batchai.reconcile import routing
from batchai.reconcile.context import Key


def thing(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    metadata = {"namespace": "ns", "name": name, "uid": f"{kind}-{name}", "resourceVersion": "1"}
    return {"kind": kind, "metadata": metadata, "spec": spec}


def known() -> ObjectStore:
    objects = ObjectStore(KINDS)
    objects.put("Workspace", thing("Workspace", "w"))
    objects.put("Experiment", thing("Experiment", "e", workspace="w"))
    objects.put("Cluster", thing("Cluster", "c", workspace="w"))
    objects.put("Job", thing("Job", "j", experiment="e", cluster="c"))
    objects.put("Job", thing("Job", "k", experiment="other", cluster="c") | {"status": {"executionState": "failed"}})
    return objects


def test_objects_concern_what_waits_for_them() -> None:
    objects = known()

    def keys(kind: str, name: str, **spec: Any) -> set[Key]:
        return set(routing.of_object(kind, thing(kind, name, **spec), objects))

    assert keys("Job", "j", cluster="c") == {Key("Job", "ns", "j"), Key("Cluster", "ns", "c")}
    assert keys("Experiment", "e") == {Key("Experiment", "ns", "e"), Key("Job", "ns", "j")}
    assert keys("Cluster", "c") == {Key("Cluster", "ns", "c"), Key("Job", "ns", "j"), Key("Job", "ns", "k")}
    assert keys("Workspace", "w") == {
        Key("Workspace", "ns", "w"),
        Key("Cluster", "ns", "c"),
        Key("Experiment", "ns", "e"),
    }


def test_a_pod_that_ended_or_went_gives_its_cluster_a_node() -> None:
    def pod(phase: str) -> dict[str, Any]:
        labels = {"batchai.dev/job": "j", "batchai.dev/cluster": "c"}
        return {"metadata": {"namespace": "ns", "name": "j-1-0", "labels": labels}, "status": {"phase": phase}}

    job, cluster = Key("Job", "ns", "j"), Key("Cluster", "ns", "c")
    assert list(routing.of_pod(pod("Pending"), pod("Running"))) == [job]
    assert list(routing.of_pod(pod("Running"), pod("Failed"))) == [job, cluster]
    assert list(routing.of_pod(pod("Failed"), pod("Failed"))) == [job]
    assert list(routing.of_pod(pod("Running"), None)) == [job, cluster]


def test_a_node_concerns_all_clusters_and_an_owner_that_is_gone() -> None:
    def node(version: str, **labels: str) -> dict[str, Any]:
        return {"metadata": {"name": "n", "resourceVersion": version, "labels": labels}}

    owned = {"batchai.dev/cluster": "gone", "batchai.dev/cluster-namespace": "other"}
    assert set(routing.of_node(None, node("1", **owned), known())) == {
        Key("Cluster", "other", "gone"),
        Key("Cluster", "ns", "c"),
    }
    assert list(routing.of_node(node("1"), node("2"), known())) == []


def test_finished_jobs_are_left_alone_by_the_resync() -> None:
    keys = set(routing.unfinished(known(), ("Job",)))
    assert keys == {Key("Job", "ns", "j")}
