"""One active replica: a Lease that the active one renews and gives back when it ends."""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from batchai.errors import KubeApiError
from batchai.kube.client import LEASES, KubeApi
from batchai.kube.patience import insist

_log = logging.getLogger(__name__)

_DURATION_SECONDS = 10.0
_MARGIN_SECONDS = 2.0
"""How long before another replica may take over the active one stops, if it could not renew."""
_RENEW_SECONDS = 2.5
_RETRY_SECONDS = 0.5
_RELEASE_SECONDS = 5.0


class LeaseLost(Exception):  # noqa: N818 - it is one, not an error of somebody
    """Another replica took over, or the Lease could not be renewed in time: this process must end."""


class Lease:
    """A named Lease and who we are. clock: for others to read; now: seconds of a clock that nobody sets."""

    def __init__(
        self,
        api: KubeApi,
        *,
        namespace: str,
        name: str,
        holder: str,
        clock: Callable[[], datetime],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._holder = holder
        self._clock = clock
        self._now = now
        self._ends = 0.0
        """Until when we may work, if it is ours."""
        self._seen: tuple[str, float] | None = None
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
        while True:
            await self._renew()
            await asyncio.sleep(_RENEW_SECONDS)

    async def _renew(self) -> None:
        """Tries as long as we may work."""
        why = "no answer"
        while (left := self._ends - self._now()) > 0:
            try:
                # Of the time that is left a request that hangs must leave some to the next one.
                async with asyncio.timeout(min(left, _RENEW_SECONDS)):
                    if await self._take():
                        return
                raise LeaseLost("another replica holds the Lease")
            except TimeoutError:
                why = "no answer"
            except KubeApiError as error:
                why = str(error)
            await asyncio.sleep(min(max(self._ends - self._now(), 0.0), _RETRY_SECONDS))
        raise LeaseLost(f"the Lease could not be renewed: {why}")

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
        """Creates, takes over or renews the Lease; False while somebody else holds it.

        Raises KubeApiError 409 if it is written at the same time, by another replica or by an earlier request of ours
        that was given up.
        """
        asked = self._now()
        spec = {
            "holderIdentity": self._holder,
            "leaseDurationSeconds": int(_DURATION_SECONDS),
            "renewTime": self._clock().strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
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
            await self._api.create(LEASES, body, namespace=self._namespace)
        else:
            if self._held_by_another(lease.get("spec", {})):
                return False
            await self._patch(lease, spec)
        # Others count from when they see it, which is later than when it was asked for.
        self._ends = asked + _DURATION_SECONDS - _MARGIN_SECONDS
        return True

    def _held_by_another(self, held: dict[str, Any]) -> bool:
        holder, renewed, now = held.get("holderIdentity"), held.get("renewTime", ""), self._now()
        if not holder or holder == self._holder:
            return False
        if self._seen is None or self._seen[0] != renewed:
            self._seen = renewed, now
        return now < self._seen[1] + _DURATION_SECONDS

    def _patch(self, lease: dict[str, Any], spec: dict[str, Any]) -> Any:
        version = {"resourceVersion": lease["metadata"]["resourceVersion"]}
        return self._api.patch(LEASES, self._name, {"metadata": version, "spec": spec}, namespace=self._namespace)
