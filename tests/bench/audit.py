"""The operator's writes, from the API server's audit log (tests/kind/audit-policy.yaml keeps no others)."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.world import OPERATOR, BenchError, World, kubectl

_LOG = "batchai-audit/audit.log"


@dataclass(frozen=True)
class Write:
    """A write that the API server answered."""

    verb: str
    resource: str
    """With the subresource: pods, jobs/status."""
    namespace: str
    name: str
    dry_run: bool

    def __str__(self) -> str:
        """As `create pods`."""
        return f"{self.verb} {self.resource}" + (" (dry run)" if self.dry_run else "")


class Audit:
    """The log from where it ended when this was made."""

    def __init__(self, world: World, path: str, size: int) -> None:
        self._world = world
        self._path = path
        self._size = size

    @classmethod
    async def begin(cls, world: World) -> "Audit":
        """Raises BenchError if the cluster keeps no audit log."""
        node = await kubectl(
            "get", "nodes", "-l", "node-role.kubernetes.io/control-plane", "-o", "jsonpath={.items[0].metadata.name}"
        )
        folder = f"/api/v1/nodes/{node}/proxy/logs/"
        try:
            size = await world.size(folder + _LOG)
        except BenchError as error:
            text = f"the cluster keeps no audit log ({error}): make it anew with 'make cluster-down cluster'"
            raise BenchError(text) from None
        return cls(world, folder + _LOG, size)

    async def writes(self) -> list[Write]:
        """The writes since then, leases left out: they are renewed whatever happens.

        So a log without them does not tell of the operator, and nobody knows what it wrote: raises BenchError.
        """
        if await self._world.size(self._path) < self._size:
            raise BenchError("the audit log was rotated meanwhile, its older part is lost: measure the row again")
        text = (await self._world.read(self._path, self._size)).decode()
        found = [_write(json.loads(line)) for line in text.splitlines() if line.endswith("}")]
        if not any((write.resource, write.namespace) == ("leases", OPERATOR) for write in found):
            raise BenchError("the audit log has no renewal of the operator's Lease: does its policy name the operator?")
        return [write for write in found if write.resource != "leases"]


def most(writes: list[Write], of_job: Callable[[Write], str | None]) -> Counter[str]:
    """How often the job that caused most of them caused each kind of write."""
    by_job: dict[str, Counter[str]] = {}
    for write in writes:
        if (name := of_job(write)) is not None:
            by_job.setdefault(name, Counter())[str(write)] += 1
    return max(by_job.values(), key=Counter.total, default=Counter())


def _write(entry: dict[str, object]) -> Write:
    reference = entry["objectRef"]
    assert isinstance(reference, dict)
    resource = "/".join(filter(None, (reference["resource"], reference.get("subresource"))))
    return Write(
        verb=str(entry["verb"]),
        resource=resource,
        namespace=reference.get("namespace", ""),
        name=reference.get("name", ""),
        dry_run="dryRun=" in str(entry["requestURI"]),
    )
