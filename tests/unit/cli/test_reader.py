"""The reader's commands run in this machine's busybox; the pod that they run in is in tests/e2e."""

import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import pytest
from tests.unit.cli.fakes import FakeKube, Terminal

from batchai.cli.kube import PODS, Object
from batchai.cli.problems import Problem
from batchai.cli.reader import VolumeDirectory, reading
from batchai.errors import StorageError
from batchai.plan.outputs import VolumeLocation

LOCATION = VolumeLocation({"persistentVolumeClaim": {"claimName": "c"}}, "jobs/x")
TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Busybox(FakeKube):
    """Runs commands of pods here, below a folder in the place of the volume."""

    def __init__(self, volume: Path) -> None:
        super().__init__(after=self.start)
        self.volume = volume

    @staticmethod
    def start(_: FakeKube, item: Object) -> None:
        if item.get("kind") == "Pod":
            item["status"] = {"phase": "Running"}

    def execute(
        self, namespace: str, pod: str, container: str, command: Sequence[str], out: BinaryIO, err: BinaryIO
    ) -> int:
        self.one(PODS, pod, namespace)
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


def directory(kube: Busybox) -> VolumeDirectory:
    kube.put(PODS, {"metadata": {"name": "r", "namespace": "ns"}})
    return VolumeDirectory(Terminal(kube).session(), "ns", "r", LOCATION.path)


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


def test_the_pod_lives_as_long_as_the_reading(kube: Busybox) -> None:
    running = {
        "spec": {"nodeName": "n1", "initContainers": [{"image": "mirror/launcher:2"}]},
        "status": {"phase": "Running"},
    }
    with reading(Terminal(kube).session(), "ns", LOCATION, [running]) as found:
        (pod,) = kube.list(PODS, "ns")
        assert pod["spec"]["nodeName"] == "n1"
        assert pod["spec"]["containers"][0]["image"] == "mirror/launcher:2"
        assert [entry.name for entry in found.entries("")] == ["sub dir", "ä $b.bin"]
        assert found.url("ä $b.bin", TIME) is None
    assert kube.list(PODS, "ns") == []


def test_a_pod_that_does_not_start_says_why(kube: Busybox) -> None:
    def pending(_: FakeKube, item: Object) -> None:
        condition = {"type": "PodScheduled", "status": "False", "message": "pod has unbound claims"}
        item["status"] = {"phase": "Pending", "conditions": [condition]}

    kube.after = pending
    with (
        pytest.raises(Problem, match="within 60 s: pod has unbound claims"),
        reading(Terminal(kube).session(), "ns", LOCATION, []),
    ):
        pass
    assert kube.list(PODS, "ns") == []
