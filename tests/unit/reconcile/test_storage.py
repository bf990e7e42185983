"""Which FileServer an id means, and which static volumes go."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from batchai.errors import DependencyNotReady, KubeApiError
from batchai.kube.client import CLAIMS, KINDS, VOLUMES, Resource
from batchai.kube.store import ObjectStore, Store
from batchai.plan.mounts import Export
from batchai.reconcile.context import Context, Key
from batchai.reconcile.presence import Presence
from batchai.reconcile.queue import WorkQueue
from batchai.reconcile.storage import StaticVolumes, file_server, volume_index
from batchai.settings import Settings

ID = "/subscriptions/s/resourceGroups/ns/providers/Microsoft.BatchAI/workspaces/{}/fileServers/{}"
JOB = "batchai.dev/job"


class Api:
    """Notes what is deleted."""

    def __init__(self) -> None:
        self.deleted: list[tuple[str, str]] = []
        self.claims: set[str] = set()
        self.asked = 0

    async def delete(self, resource: Resource, name: str, **_: object) -> None:
        self.deleted.append((resource.plural, name))

    async def get(self, resource: Resource, name: str, **_: object) -> dict[str, Any]:
        assert resource == CLAIMS
        self.asked += 1
        if name not in self.claims:
            raise KubeApiError(404, "NotFound", name)
        return {}


def context(api: Api | None = None, *servers: dict[str, Any]) -> Context:
    objects = ObjectStore(KINDS)
    for server in servers:
        objects.put("FileServer", server)
    return Context(
        api=api,  # type: ignore[arg-type]
        objects=objects,
        pods=Store(),
        nodes=Store(),
        volumes=Store({JOB: volume_index(JOB)}),
        mount_failures={},
        queue=WorkQueue[Key](lambda: 1.0),
        settings=Settings("launcher", {}, "batchai-system", "me"),
        clock=lambda: datetime.now(UTC),
        subscription="s",
    )


def server(name: str, azure: str, workspace: str, address: str | None, state: str = "succeeded") -> dict[str, Any]:
    metadata = {"namespace": "ns", "name": name, "uid": name, "resourceVersion": "1"}
    settings = {"mountPoint": "/data", "fileServerInternalIP": address} if address else None
    disks = {"diskSizeInGB": 1, "diskCount": 1, "storageAccountType": "Standard_LRS"}
    return {
        "kind": "FileServer",
        "metadata": {**metadata, "labels": {"batchai.dev/name": azure, "batchai.dev/workspace": workspace}},
        "spec": {"workspace": workspace, "vmSize": "Standard_D2", "dataDisks": disks},
        "status": {"provisioningState": state, "mountSettings": settings},
    }


SERVERS = (
    server("nfs", "nfs", "one", "10.0.0.1"),
    server("nfs-2", "nfs", "two", "10.0.0.2"),
    server("slow", "Slow", "one", None, "creating"),
)


@pytest.mark.parametrize(
    ("identifier", "address"),
    [
        ("nfs", "10.0.0.1"),
        ("nfs-2", "10.0.0.2"),
        (ID.format("one", "nfs"), "10.0.0.1"),
        (ID.format("two", "nfs"), "10.0.0.2"),
        (f"{ID.format('two', 'nfs')}/", "10.0.0.2"),
    ],
)
def test_a_file_server_is_found_by_its_name_or_by_its_azure_id(identifier: str, address: str) -> None:
    assert file_server(context(None, *SERVERS), "ns", identifier) == Export(address, "/data")


@pytest.mark.parametrize(
    ("identifier", "reason", "text"),
    [
        ("none", "FileServerNotFound", "FileServer 'none': it does not exist in namespace 'ns'"),
        (ID.format("three", "nfs"), "FileServerNotFound", "FileServer 'nfs': it does not exist in workspace 'three'"),
        ("Slow", "FileServerNotReady", "waits for FileServer 'Slow': it is creating"),
    ],
)
def test_a_file_server_that_does_not_serve_is_named(identifier: str, reason: str, text: str) -> None:
    with pytest.raises(DependencyNotReady, match=text) as missing:
        file_server(context(None, *SERVERS), "ns", identifier)
    assert missing.value.reason == reason


def volume(uid: str, **more: Any) -> dict[str, Any]:
    name = f"batchai-{uid}-nfs-0"
    metadata = {"name": name, "uid": f"pv-{uid}", "resourceVersion": "1", "labels": {JOB: "train"}, **more}
    return {"metadata": metadata, "spec": {"claimRef": {"namespace": "ns", "name": name}}}


async def test_only_volumes_of_the_living_owner_are_kept() -> None:
    api = Api()
    subject = context(api)
    for item in (volume("old"), volume("new"), volume("going", deletionTimestamp="2026-05-04T03:00:00Z")):
        subject.volumes.put(item)
    await StaticVolumes(subject).sweep(JOB, "ns", "train", "new")
    assert api.deleted == [
        (CLAIMS.plural, "batchai-old-nfs-0"),
        (VOLUMES.plural, "batchai-old-nfs-0"),
        (CLAIMS.plural, "batchai-going-nfs-0"),
    ]
    api.deleted.clear()
    await StaticVolumes(subject).sweep(JOB, "ns", "other", None)
    assert api.deleted == []
    await StaticVolumes(subject).sweep(JOB, "ns", "train", None)
    assert (VOLUMES.plural, "batchai-new-nfs-0") in api.deleted


async def test_a_volume_without_a_claim_is_nobodys() -> None:
    subject = context(Api())
    subject.volumes.put(volume("old") | {"spec": {}})
    await StaticVolumes(subject).sweep(JOB, "ns", "train", None)
    assert subject.volumes.items()


async def test_a_claim_is_asked_for_again_soon_if_it_was_missing_and_later_if_it_was_there() -> None:
    api, now = Api(), [datetime.now(UTC)]
    presence = Presence(api, lambda: now[0])  # type: ignore[arg-type]

    async def late(seconds: int) -> bool:
        now[0] += timedelta(seconds=seconds)
        return await presence.exists("PersistentVolumeClaim", "ns", "late")

    assert not await late(0)
    api.claims.add("late")
    assert not await late(4)
    assert api.asked == 1
    assert await late(1)
    assert await late(59)
    assert api.asked == 2
    api.claims.clear()
    assert not await late(1)
