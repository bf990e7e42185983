"""The reader's commands run in this machine's busybox; the pod that they run in is in tests/e2e."""

import json
import subprocess
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import pytest
from tests.unit.cli.fakes import SUBSCRIPTION, FakeKube, Terminal, provision

from batchai.cli.kube import JOBS, PODS, Object
from batchai.cli.problems import Problem
from batchai.cli.reader import Place, VolumeDirectory
from batchai.errors import StorageError
from batchai.plan.directories import JobIdentity
from batchai.plan.outputs import VolumeLocation

LOCATION = VolumeLocation({"persistentVolumeClaim": {"claimName": "c"}}, "jobs/x")
TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Busybox(FakeKube):
    """Runs commands of pods here, below a folder in the place of the volume."""

    def __init__(self, volume: Path) -> None:
        super().__init__(after=self.start)
        self.volume = volume

    @staticmethod
    def start(kube: FakeKube, item: Object) -> None:
        if item.get("kind") == "Pod":
            item["status"] = {"phase": "Running"}
        provision(kube, item)

    def execute(
        self, namespace: str, pod: str, container: str, command: Sequence[str], out: BinaryIO, err: BinaryIO
    ) -> int:
        self.get(PODS, namespace, pod)
        words = [
            word.replace("/launcher/busybox", "busybox").replace("/volume", str(self.volume), 1) for word in command
        ]
        done = subprocess.run(words, check=False, capture_output=True)
        out.write(done.stdout)
        err.write(done.stderr)
        return done.returncode


@pytest.fixture
def kube(tmp_path: Path) -> Busybox:
    folder = tmp_path / "jobs/x/sub dir"
    folder.mkdir(parents=True)
    file = tmp_path / "jobs/x/ä $b.bin"
    file.write_bytes(bytes(range(256)) * 1000)
    subprocess.run(["touch", "-d", TIME.isoformat(), file], check=True)
    return Busybox(tmp_path)


def directory(kube: Busybox, look: Callable[[], Place | None] = lambda: Place(LOCATION)) -> VolumeDirectory:
    return VolumeDirectory(Terminal(kube).session(), "ns", look, None)


def readers(kube: Busybox) -> list[Object]:
    return kube.list(PODS, "ns", {"app.kubernetes.io/name": "batchai-reader"})


def test_listing(kube: Busybox) -> None:
    folder, file = directory(kube).entries("")
    assert (folder.name, folder.is_directory, folder.size) == ("sub dir", True, None)
    assert (file.name, file.size, file.modified) == ("ä $b.bin", 256_000, TIME)
    assert directory(kube).entries("sub dir") == []
    with pytest.raises(StorageError) as caught:
        directory(kube).entries("other")
    assert caught.value.not_found


def test_ranges_are_binary_safe_and_end_with_the_file(kube: Busybox) -> None:
    whole = bytes(range(256)) * 1000
    for offset, length in ((0, 10), (255, 3), (65_535, 70_000), (255_990, 100), (256_000, 5), (300_000, 5)):
        assert directory(kube).read("ä $b.bin", offset, length) == whole[offset : offset + length]
    assert directory(kube).read("gone", 0, 5) == b""


def test_finding(kube: Busybox) -> None:
    found = directory(kube).find("ä $b.bin")
    assert found is not None
    assert (found.size, found.modified) == (256_000, TIME)
    assert directory(kube).find("gone") is None
    assert directory(kube).find("sub dir") is None


def test_odd_names_and_links(kube: Busybox) -> None:
    """Links are what they lead to; what could lead in circles, and names with line feeds, are left out."""
    folder = kube.volume / "jobs/x/sub dir"
    (folder / "two\nlines").write_text("x")
    (folder / "a\u2028b").write_text("four")
    (folder / 'it\'s "$HOME"').write_text("x")
    (folder / "real").write_bytes(b"r" * 1000)
    (folder / "latest").symlink_to("real")
    (folder / "broken").symlink_to("nothing")
    (folder / "loop").symlink_to(".")
    listed = {entry.name: entry.size for entry in directory(kube).entries("sub dir")}
    assert listed == {"a\u2028b": 4, 'it\'s "$HOME"': 1, "latest": 1000, "real": 1000}
    found = directory(kube).find("sub dir/latest")
    assert found is not None
    assert found.size == 1000


def test_the_pod_lives_as_long_as_the_reading(kube: Busybox) -> None:
    with closing(directory(kube, lambda: Place(LOCATION, "n1", "mirror/launcher:2"))) as found:
        assert readers(kube) == []
        assert [entry.name for entry in found.entries("")] == ["sub dir", "ä $b.bin"]
        found.entries("")
        (pod,) = readers(kube)
        assert pod["spec"]["nodeName"] == "n1"
        assert pod["spec"]["containers"][0]["image"] == "mirror/launcher:2"
        assert found.url("ä $b.bin", TIME) is None
    assert readers(kube) == []


def test_the_pod_goes_where_the_writers_are(kube: Busybox) -> None:
    places = iter([None, Place(LOCATION, "n1"), Place(LOCATION, "n1"), None, Place(LOCATION, "n2"), Place(LOCATION)])
    with closing(directory(kube, lambda: next(places))) as found:
        seen = []
        for _ in range(6):
            there = found.find("ä $b.bin") is not None
            seen.append((there, [pod["spec"].get("nodeName") for pod in readers(kube)]))
    assert seen == [(False, []), (True, ["n1"]), (True, ["n1"]), (False, []), (True, ["n2"]), (True, ["n2"])]


def test_a_pod_that_ended_is_replaced_and_those_of_others_are_cleared_away(kube: Busybox) -> None:
    labels = {"app.kubernetes.io/name": "batchai-reader"}
    for name, phase in (("former", "Failed"), ("another's", "Running")):
        kube.put(PODS, {"metadata": {"name": name, "namespace": "ns", "labels": labels}, "status": {"phase": phase}})
    with closing(directory(kube)) as found:
        found.entries("")
        (first,) = (pod["metadata"]["name"] for pod in readers(kube) if pod["metadata"]["name"] != "another's")
        kube.delete(PODS, "ns", first)
        with pytest.raises(StorageError, match=f"pod '{first}' cannot read the volume"):
            found.read("ä $b.bin", 0, 3)
        assert found.read("ä $b.bin", 0, 3) == b"\0\1\2"
        assert len(readers(kube)) == 2
    assert [pod["metadata"]["name"] for pod in readers(kube)] == ["another's"]


def test_a_pod_that_does_not_start_says_why(kube: Busybox) -> None:
    def pending(_: FakeKube, item: Object) -> None:
        condition = {"type": "PodScheduled", "status": "False", "message": "pod has unbound claims"}
        item["status"] = {"phase": "Pending", "conditions": [condition]}

    kube.after = pending
    with pytest.raises(Problem, match="within 60 s: pod has unbound claims"):
        directory(kube).entries("")
    assert readers(kube) == []


def test_a_file_that_cannot_be_read_on_is_not_taken_for_a_short_one(kube: Busybox) -> None:
    with pytest.raises(StorageError, match="no running pod"):
        directory(kube, lambda: None).read("ä $b.bin", 0, 3)


def test_a_job_that_waits_is_not_disturbed(kube: Busybox, tmp_path: Path) -> None:
    """On its node as soon as it runs; when it has ended where another pod has its claim, else anywhere."""
    terminal = Terminal(kube)
    terminal.run("workspace create -g ns -n w")
    terminal.run("experiment create -g ns -w w -n e")
    terminal.run("cluster create -g ns -w w -n c -s Standard_NC6 -t 1")
    properties = {
        "nodeCount": 1,
        "customToolkitSettings": {"commandLine": "true"},
        "stdOutErrPathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs",
        "mountVolumes": {"persistentVolumeClaims": [{"claimName": "c", "relativeMountPath": "logs"}]},
    }
    path = tmp_path / "job.json"
    path.write_text(json.dumps({"properties": properties}))
    terminal.run(f"job create -g ns -w w -e e -c c -n j -f {path}")
    listed = "job file list -g ns -w w -e e -j j"
    assert terminal.run(listed) == []
    assert terminal.said == ["Nothing is there: the job is queued."]
    assert readers(kube) == []
    job = kube.one(JOBS, "j")
    folder = kube.volume / JobIdentity(SUBSCRIPTION, "ns", "w", "e", "j", job["metadata"]["uid"]).segment / "stdouterr"
    folder.mkdir(parents=True)
    (folder / "stdout.txt").write_text("x")
    labels = {"batchai.dev/job-uid": job["metadata"]["uid"]}
    spec = {"nodeName": "n3", "initContainers": [{"image": "launcher:9"}]}
    pod = {"metadata": {"name": "p", "namespace": "ns", "labels": labels}, "spec": spec, "status": {"phase": "Running"}}
    kube.put(PODS, pod)
    made: list[Object] = []
    kube.after = lambda fake, item: (made.append(item), Busybox.start(fake, item))[0]
    assert [file["name"] for file in terminal.run(listed)] == ["stdout.txt"]
    kube.delete(PODS, "ns", "p")
    job.setdefault("status", {})["executionState"] = "succeeded"
    assert [file["name"] for file in terminal.run(listed)] == ["stdout.txt"]
    claim = {"name": "claim-x", "persistentVolumeClaim": {"claimName": "c"}}
    other = {"nodeName": "n4", "volumes": [{"name": "other", "emptyDir": {}}, claim]}
    kube.put(PODS, pod | {"metadata": {"name": "q", "namespace": "ns"}, "spec": other})
    assert [file["name"] for file in terminal.run(listed)] == ["stdout.txt"]
    assert [each["spec"].get("nodeName") for each in made] == ["n3", None, "n4"]
    assert made[0]["spec"]["containers"][0]["image"] == "launcher:9"
