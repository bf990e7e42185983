"""The bench believes that the operator wrote nothing only if the audit log tells of the operator at all."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from tests.bench import audit
from tests.bench.world import BenchError, World

from batchai.kube.session import Connection

RENEWAL = {
    "verb": "patch",
    "objectRef": {"resource": "leases", "namespace": "batchai-system", "name": "batchai-operator"},
}
WRITE = {"verb": "create", "objectRef": {"resource": "pods", "namespace": "ns", "name": "j-1-0"}}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "batchai-audit" / "audit.log"
    path.parent.mkdir()
    path.write_text("")
    return path


@pytest.fixture
async def world(log: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A node that serves its logs as a kubelet does."""

    async def node(*_: str) -> str:
        return "node"

    monkeypatch.setattr(audit, "kubectl", node)
    app = web.Application()
    app.router.add_static("/api/v1/nodes/node/proxy/logs/", log.parents[1])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    async with aiohttp.ClientSession() as session:
        yield World(Connection(session, f"http://{host}:{port}"))
    await runner.cleanup()


def append(log: Path, *entries: object) -> None:
    with log.open("a") as file:
        file.writelines(json.dumps({"requestURI": "", **entry}) + "\n" for entry in entries)  # type: ignore[dict-item]


async def test_writes_since_the_beginning_without_leases(world: World, log: Path) -> None:
    empty = await audit.Audit.begin(world)
    append(log, WRITE, RENEWAL)
    later = await audit.Audit.begin(world)
    append(log, RENEWAL)
    assert [str(write) for write in await empty.writes()] == ["create pods"]
    assert await later.writes() == []


async def test_a_log_that_does_not_tell_of_the_operator_is_no_answer(world: World, log: Path) -> None:
    append(log, RENEWAL)
    found = await audit.Audit.begin(world)
    with pytest.raises(BenchError, match="no renewal"):
        await found.writes()
    append(log, WRITE)
    with pytest.raises(BenchError, match="no renewal"):
        await found.writes()


async def test_a_log_that_was_rotated_is_no_answer(world: World, log: Path) -> None:
    append(log, *[RENEWAL] * 3)
    found = await audit.Audit.begin(world)
    log.write_text("")
    append(log, RENEWAL)
    with pytest.raises(BenchError, match="rotated"):
        await found.writes()


async def test_a_cluster_without_a_log_says_how_to_get_one(world: World, log: Path) -> None:
    log.unlink()
    with pytest.raises(BenchError, match="make cluster-down cluster"):
        await audit.Audit.begin(world)
