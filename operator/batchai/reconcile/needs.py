"""What queued jobs need besides nodes, their names included, and who of them lacks it."""

import asyncio
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from batchai.api import names
from batchai.api.cluster import Cluster
from batchai.api.job import Job
from batchai.errors import DependencyNotReady
from batchai.plan import secrets
from batchai.plan.mounts import claim_names, file_server_ids
from batchai.reconcile.context import Context
from batchai.reconcile.presence import Kind, Presence
from batchai.reconcile.storage import file_server
from batchai.schedule.ledger import ended, overdue_at


@dataclass(frozen=True)
class _Need:
    """Something that a job's pods would wait for, and how it comes to be."""

    kind: Kind
    name: str
    remedy: str


class Needs:
    """The jobs of a Cluster during one pass, each of which is looked at once.

    lacking: job name → the first thing that it needs and that is not there, of the jobs that were looked at.
    """

    def __init__(self, context: Context, presence: Presence, cluster: Cluster) -> None:
        self.lacking: dict[str, DependencyNotReady] = {}
        self._context = context
        self._presence = presence
        self._cluster = cluster
        self._looked_at: set[str] = set()
        self._servers: dict[str, DependencyNotReady | None] = {}

    async def look(self, jobs: Iterable[Job]) -> bool:
        """Looks at jobs; whether one lacks something that was not looked at before. Raises KubeApiError."""
        new = [job for job in jobs if job.metadata.name not in self._looked_at]
        needs = [list(_needs(job, self._cluster)) for job in new]
        asked = list(dict.fromkeys((need.kind, need.name) for found in needs for need in found))
        namespace = self._cluster.metadata.namespace
        there = await asyncio.gather(*(self._presence.exists(kind, namespace, name) for kind, name in asked))
        absent = {thing for thing, exists in zip(asked, there, strict=True) if not exists}
        lacking = {
            job.metadata.name: missing
            for job, found in zip(new, needs, strict=True)
            if (missing := self._first_missing(job, found, absent)) is not None
        }
        self._looked_at.update(job.metadata.name for job in new)
        self.lacking |= lacking
        return bool(lacking)

    def _first_missing(
        self, job: Job, needs: Iterable[_Need], absent: Collection[tuple[Kind, str]]
    ) -> DependencyNotReady | None:
        namespace = job.metadata.namespace
        if (pod := self._pod_of_former(job)) is not None:
            return DependencyNotReady("NameTaken", f"waits for pod '{pod}' of a deleted job of the same name to end")
        for need in needs:
            if (need.kind, need.name) in absent:
                text = f"waits for {need.kind} '{need.name}' in namespace '{namespace}': {need.remedy}"
                return DependencyNotReady(f"{need.kind}NotFound", text)
        servers = map(self._unserved, _ids_of_file_servers(job, self._cluster))
        return next((error for error in servers if error is not None), None)

    def _pod_of_former(self, job: Job) -> str | None:
        """A pod that still runs for another job of this name, on whatever Cluster: it may have the name of one of ours.

        One that should have ended for long is not waited for.
        """
        metadata, now = job.metadata, self._context.clock()
        for pod in self._context.pods.by_index("job", f"{metadata.namespace}/{metadata.name}"):
            former = pod["metadata"]["labels"][names.LABEL_JOB_UID] != metadata.uid and not ended(pod)
            if former and ((end := overdue_at(pod)) is None or end > now):
                return str(pod["metadata"]["name"])
        return None

    def _unserved(self, identifier: str) -> DependencyNotReady | None:
        """Why a FileServer cannot be mounted yet."""
        if identifier not in self._servers:
            try:
                file_server(self._context, self._cluster.metadata.namespace, identifier)
                self._servers[identifier] = None
            except DependencyNotReady as error:
                self._servers[identifier] = error
        return self._servers[identifier]


def _needs(job: Job, cluster: Cluster) -> Iterator[_Need]:
    for secret, keys in secrets.needed(job.spec, cluster.spec).items():
        yield _Need("Secret", secret, f"create it with the keys {' and '.join(keys)}")
    for claim in sorted(claim_names(cluster.spec.shared_volumes) | claim_names(job.spec.mount_volumes)):
        yield _Need("PersistentVolumeClaim", claim, "create it")


def _ids_of_file_servers(job: Job, cluster: Cluster) -> list[str]:
    return sorted(file_server_ids(cluster.spec.shared_volumes) | file_server_ids(job.spec.mount_volumes))
