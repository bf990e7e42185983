"""One active replica: a Lease that the active one renews and gives back when it ends."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from batchai.errors import KubeApiError
from batchai.kube.client import LEASES, KubeApi
from batchai.kube.patience import insist

_log = logging.getLogger(__name__)

DURATION = timedelta(seconds=10)
_MARGIN = timedelta(seconds=2)
"""How long before another replica may take over the active one stops, if it could not renew."""
_RENEW_SECONDS = 2.5
_RELEASE_SECONDS = 5.0


class LeaseLost(Exception):  # noqa: N818 - it is one, not an error of somebody
    """Another replica took over, or the Lease could not be renewed in time: this process must end."""


class Lease:
    """A named Lease and who we are."""

    def __init__(self, api: KubeApi, *, namespace: str, name: str, holder: str, clock: Callable[[], datetime]) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._holder = holder
        self._clock = clock
        self._seen: tuple[str, datetime] | None = None
        """The other holder's last renewTime, and when it was new to us: clocks of two machines are not compared."""

    async def acquire(self) -> None:
        """Waits until the Lease is ours, and for the API server if need be."""
        said = False
        while not await insist(self._take, "taking the Lease"):
            if not said:
                _log.info("another replica is active: waiting for the Lease %s", self._name)
                said = True
            await asyncio.sleep(_RENEW_SECONDS)
        _log.info("active as %s", self._holder)

    async def keep(self) -> None:
        """Renews until it fails, then raises LeaseLost."""
        ends = self._clock() + DURATION - _MARGIN
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            asked = self._clock()
            try:
                # A request that hangs must not outlive the Lease.
                async with asyncio.timeout((ends - asked).total_seconds()):
                    if not await self._take():
                        raise LeaseLost("another replica holds the Lease")
                ends = asked + DURATION - _MARGIN
            except (KubeApiError, TimeoutError) as error:
                if self._clock() >= ends:
                    raise LeaseLost(f"the Lease could not be renewed: {error}") from error

    async def release(self) -> None:
        """Gives the Lease back if it is ours, so that the next replica need not wait for its end.

        Not for long: without an answer the Lease runs out, while the kubelet waits for the process to end.
        """
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                lease = await self._api.get(LEASES, self._name, namespace=self._namespace)
                if lease["spec"].get("holderIdentity") == self._holder:
                    await self._patch(lease, {"holderIdentity": ""})
        except (KubeApiError, TimeoutError) as error:
            _log.info("the Lease was not given back: %s", error)

    async def _take(self) -> bool:
        """Creates, takes over or renews the Lease; False while somebody else holds it."""
        now = self._clock()
        spec = {
            "holderIdentity": self._holder,
            "leaseDurationSeconds": int(DURATION.total_seconds()),
            "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        try:
            lease = await self._api.get(LEASES, self._name, namespace=self._namespace)
        except KubeApiError as error:
            if not error.not_found:
                raise
            body = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self._name},
                "spec": spec,
            }
            return await _won(self._api.create(LEASES, body, namespace=self._namespace))
        held = lease.get("spec", {})
        holder = held.get("holderIdentity")
        if holder and holder != self._holder:
            if self._seen is None or self._seen[0] != held["renewTime"]:
                self._seen = held["renewTime"], now
            if now < self._seen[1] + DURATION:
                return False
        return await _won(self._patch(lease, spec))

    def _patch(self, lease: dict[str, Any], spec: dict[str, Any]) -> Any:
        version = {"resourceVersion": lease["metadata"]["resourceVersion"]}
        return self._api.patch(LEASES, self._name, {"metadata": version, "spec": spec}, namespace=self._namespace)


async def _won(write: Any) -> bool:
    """Whether a write that others may do at the same time was ours."""
    try:
        await write
    except KubeApiError as error:
        if error.status == 409:
            return False
        raise
    return True
