from typing import Any

from batchai.kube.client import KINDS
from batchai.kube.store import ObjectStore
from batchai.reconcile import routing
from batchai.reconcile.context import Key
from batchai.reconcile.slim import slim_volume


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


def test_parents_that_come_go_or_are_relabelled_wake_what_waits_for_them() -> None:
    objects = known()

    def keys(before: dict[str, Any] | None, after: dict[str, Any] | None) -> set[Key]:
        item = after or before
        assert item is not None
        return set(routing.of_object(item["kind"], before, after, objects))

    for kind, name, children in (
        ("Experiment", "e", {Key("Job", "ns", "j")}),
        ("Cluster", "c", {Key("Job", "ns", "j"), Key("Job", "ns", "k")}),
        ("Workspace", "w", {Key("Cluster", "ns", "c"), Key("Experiment", "ns", "e")}),
    ):
        parent = thing(kind, name)
        itself = Key(kind, "ns", name)
        assert keys(None, parent) == keys(parent, None) == {itself, *children}
        relabelled = {**parent, "metadata": {**parent["metadata"], "labels": {"batchai.dev/name": "E"}}}
        assert keys(parent, relabelled) == {itself, *children}
        assert keys(parent, {**parent, "status": {"provisioningState": "succeeded"}}) == {itself}
        assert keys(parent, {**parent, "status": {"provisioningState": "failed"}}) == {itself, *children}


def test_only_what_its_queue_sees_of_a_job_wakes_the_cluster() -> None:
    job, cluster = Key("Job", "ns", "j"), Key("Cluster", "ns", "c")
    before = thing("Job", "j", experiment="e", cluster="c")

    def keys(status: dict[str, Any], **spec: Any) -> list[Key]:
        after = {**before, "spec": {**before["spec"], **spec}, "status": status}
        return list(routing.of_object("Job", before, after, known()))

    assert keys({"queuePosition": 7, "waiting": {"reason": "BehindOthers"}}) == [job]
    assert keys({"executionState": "queued"}) == [job, cluster]
    assert keys({"attempt": 1}) == [job, cluster]
    assert keys({}, terminate=True) == [job, cluster]
    assert list(routing.of_object("Job", before, None, known())) == [job, cluster]


def test_a_pod_that_ended_or_went_gives_its_cluster_a_node() -> None:
    def pod(phase: str) -> dict[str, Any]:
        labels = {"batchai.dev/job": "j", "batchai.dev/cluster": "c"}
        return {"metadata": {"namespace": "ns", "name": "j-1-0", "labels": labels}, "status": {"phase": phase}}

    job, cluster = Key("Job", "ns", "j"), Key("Cluster", "ns", "c")
    assert list(routing.of_pod(pod("Pending"), pod("Running"))) == [job]
    assert list(routing.of_pod(pod("Running"), pod("Failed"))) == [job, cluster]
    assert list(routing.of_pod(pod("Failed"), pod("Failed"))) == [job]
    assert list(routing.of_pod(pod("Running"), None)) == [job, cluster]
    foreign = pod("Failed")
    del foreign["metadata"]["labels"]["batchai.dev/cluster"]
    assert list(routing.of_pod(None, foreign)) == [job]


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


def test_a_static_volume_wakes_whoever_it_was_made_for() -> None:
    def volume(label: str) -> dict[str, Any]:
        return {"metadata": {"labels": {label: "x"}}, "spec": {"claimRef": {"namespace": "ns"}}}

    assert list(routing.of_volume(None, volume("batchai.dev/job"))) == [Key("Job", "ns", "x")]
    assert list(routing.of_volume(volume("batchai.dev/setup"), None)) == [Key("Cluster", "ns", "x")]
    unclaimed = volume("batchai.dev/job") | {"spec": {}}
    assert list(routing.of_volume(None, unclaimed)) == []
    assert list(routing.of_volume(slim_volume(unclaimed), volume("batchai.dev/job"))) == [Key("Job", "ns", "x")]


def test_a_file_server_wakes_the_clusters_of_its_namespace() -> None:
    server = thing("FileServer", "nfs", workspace="w")
    assert list(routing.of_object("FileServer", None, server, known())) == [
        Key("FileServer", "ns", "nfs"),
        Key("Cluster", "ns", "c"),
    ]
