import pytest

from batchai.api.mounts import MountVolumes
from batchai.errors import SpecError
from batchai.plan.mounts import Export, Surroundings, job_mounts
from batchai.plan.outputs import VolumeLocation, file_servers_behind, reader_pod, volume_location

ROOT = "/root/mounts"


def find(path: str, *, lives: bool = False, restricted: bool = False, **volumes: object) -> VolumeLocation | None:
    surroundings = Surroundings(export=lambda _: Export("10.0.0.1", "/data"), owner="u")
    mounts = job_mounts(MountVolumes.model_validate(volumes), ROOT, surroundings)
    return volume_location(path, mounts, lives=lives, restricted=restricted)


def test_a_folder_of_a_claim() -> None:
    claim = {"claimName": "training", "relativeMountPath": "logs", "subPath": "a/b"}
    found = find(f"{ROOT}/logs/x/y", persistentVolumeClaims=[claim])
    assert found is not None
    assert (found.source["persistentVolumeClaim"]["claimName"], found.path) == ("training", "a/b/x/y")
    assert find(f"{ROOT}/logs2/x", persistentVolumeClaims=[claim]) is None


def test_an_export_is_mounted_without_the_volume_that_went_with_the_job() -> None:
    server = {"fileServer": {"id": "nfs"}, "relativeMountPath": "nfs", "mountOptions": "nconnect=4"}
    found = find(f"{ROOT}/nfs", fileServers=[server])
    assert found == VolumeLocation({"nfs": {"server": "10.0.0.1", "path": "/data", "readOnly": True}}, "")
    while_it_runs = find(f"{ROOT}/nfs", lives=True, restricted=True, fileServers=[server])
    assert while_it_runs == VolumeLocation({"persistentVolumeClaim": {"claimName": "batchai-u-nfs-0"}}, "")
    with pytest.raises(SpecError, match="Pod Security 'restricted' lets nobody read"):
        find(f"{ROOT}/nfs", restricted=True, fileServers=[server])


def test_only_the_file_server_behind_a_path_is_asked() -> None:
    servers = [{"fileServer": {"id": name}, "relativeMountPath": f"/{name}/x/"} for name in ("a", "b")]
    volumes = MountVolumes.model_validate({"fileServers": servers})
    assert file_servers_behind(f"{ROOT}/b/x/y", volumes, ROOT) == {"b"}
    assert file_servers_behind(f"{ROOT}/b/xy", volumes, ROOT) == set()
    assert file_servers_behind(f"{ROOT}/b/x", None, ROOT) == set()


def test_the_reader_may_nothing_but_read() -> None:
    location = VolumeLocation({"persistentVolumeClaim": {"claimName": "c"}}, "x")
    pod = reader_pod("r", "ns", location, "launcher:1", node="n1", user=None)
    (container,) = pod["spec"]["containers"]
    assert container["volumeMounts"] == [{"name": "volume", "mountPath": "/volume", "readOnly": True}]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["DAC_OVERRIDE"]}
    assert pod["spec"]["nodeName"] == "n1"
    assert "activeDeadlineSeconds" in pod["spec"]
    restricted = reader_pod("r", "ns", location, "launcher:1", node=None, user=1000)["spec"]
    assert "nodeName" not in restricted
    security = restricted["containers"][0]["securityContext"]
    assert (security["runAsNonRoot"], security["capabilities"]) == (True, {"drop": ["ALL"]})
