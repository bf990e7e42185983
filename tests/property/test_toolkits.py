"""Whatever the shape of a job: every process exactly once, where it belongs."""

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.builders import job

from batchai.plan.environment import host_file
from batchai.toolkits import Allocation, Launch, launch

SCRIPT = {"pythonScriptFilePath": "x.py"}
nodes = st.integers(1, 12)
counts = st.integers(1, 64)


def run(hosts: int, gpus: int = 0, **settings: Any) -> Launch:
    names = tuple(f"host-{index}" for index in range(hosts))
    return launch(job(**settings, nodeCount=hosts).spec, Allocation(names, gpus))


@given(nodes, counts)
def test_processes_are_spread_evenly(hosts: int, count: int) -> None:
    slots = run(hosts, horovodSettings=SCRIPT | {"processCount": count}).slots
    assert sum(slots) == count
    assert max(slots) - min(slots) <= 1
    lines = host_file([f"host-{index}" for index in range(hosts)], slots).splitlines()
    assert sum(int(line.rpartition("=")[2]) for line in lines) == count


@given(nodes, counts)
def test_every_pytorch_rank_runs_exactly_once(hosts: int, count: int) -> None:
    count = max(count, hosts)
    found = run(hosts, pyTorchSettings=SCRIPT | {"processCount": count, "communicationBackend": "TCP"})
    ranks = [int(process.environment["RANK"]) for node in found.nodes for process in node]
    assert ranks == list(range(count))
    for node in found.nodes:
        assert [int(process.environment["LOCAL_RANK"]) for process in node] == list(range(len(node)))
    assert len({process.stdout for node in found.nodes for process in node}) == count


@given(nodes, st.integers(1, 4), st.data())
def test_tensorflow_clusters(hosts: int, gpus: int, data: st.DataObject) -> None:
    workers = data.draw(st.integers(1, hosts * gpus))
    servers = data.draw(st.integers(0, hosts))
    settings = SCRIPT | {"workerCount": workers, "parameterServerCount": servers}
    found = run(hosts, gpus, tensorFlowSettings=settings)
    titles = Counter(process.title for node in found.nodes for process in node)
    assert set(titles.values()) == {1}
    assert titles.total() == workers + servers
    assert found.nodes[0][0].title == "worker 0"
    for node in found.nodes:
        assert sum(process.serves for process in node) <= 1
        assert sum(not process.serves for process in node) <= gpus
    addresses = [
        address
        for name in ("AZ_BATCHAI_PS_HOSTS", "AZ_BATCHAI_WORKER_HOSTS")
        for address in found.environment.get(name, "").split(",")
        if address
    ]
    assert len(set(addresses)) == len(addresses)
