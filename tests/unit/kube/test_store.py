from typing import Any

from batchai.kube.store import ObjectStore, Store


def item(name: str = "a", *, version: int = 1, uid: str = "u", **labels: str) -> dict[str, Any]:
    metadata = {"namespace": "ns", "name": name, "uid": uid, "resourceVersion": str(version), "labels": labels}
    return {"metadata": metadata, "spec": {}}


def by_job(found: dict[str, Any]) -> str | None:
    job: str | None = found["metadata"]["labels"].get("job")
    return job


def test_newer_versions_win() -> None:
    store = Store()
    assert store.put(item(version=10))
    assert not store.put(item(version=9))
    assert not store.put(item(version=10))
    assert store.put(item(version=11))
    assert store.put(item(version=2, uid="another"))


def test_indexes_follow_changes() -> None:
    store = Store({"job": by_job})
    store.put(item(version=1, job="x"))
    store.put(item("b", uid="v", job="x"))
    assert [found["metadata"]["name"] for found in store.by_index("job", "x")] == ["a", "b"]
    store.put(item(version=2, job="y"))
    assert [found["metadata"]["name"] for found in store.by_index("job", "x")] == ["b"]
    store.remove(item("b", uid="v"))
    assert store.by_index("job", "x") == []


def test_a_late_deletion_does_not_remove_the_successor() -> None:
    store = Store()
    store.put(item(version=5, uid="new"))
    store.remove(item(version=4, uid="old"))
    assert store.get("ns", "a") is not None


def test_a_deleted_object_does_not_come_back() -> None:
    objects = ObjectStore(["Job"])
    objects.put("Job", item(version=5))
    objects.remove("Job", item(version=6))
    assert not objects.put("Job", item(version=5))
    assert objects.get("Job", "ns", "a") is None
    assert objects.put("Job", item(version=7, uid="recreated"))
    assert objects.list("Job", "other") == []


def test_children_follow_the_parents_that_their_specs_name() -> None:
    objects = ObjectStore(["Job"])
    objects.put("Job", item(version=1) | {"spec": {"cluster": "c", "experiment": "e"}})
    objects.put("Job", item("b", uid="v") | {"spec": {"cluster": "d", "experiment": "e"}})
    assert [job["metadata"]["name"] for job in objects.children("Job", "experiment", "ns", "e")] == ["a", "b"]
    assert [job["metadata"]["name"] for job in objects.children("Job", "cluster", "ns", "d")] == ["b"]
    assert objects.children("Job", "cluster", "other", "c") == []
    objects.remove("Job", item("b", uid="v"))
    assert objects.children("Job", "cluster", "ns", "d") == []


def test_what_only_others_look_at_is_not_kept() -> None:
    objects = ObjectStore(["Job"])
    job = item()
    job["metadata"]["managedFields"] = [{"manager": "kubectl"}]
    job["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "mine": "yes"}
    objects.put("Job", job)
    kept = objects.get("Job", "ns", "a")
    assert kept is not None
    assert "managedFields" not in kept["metadata"]
    assert kept["metadata"]["annotations"] == {"mine": "yes"}
    assert "managedFields" in job["metadata"]
