"""Whether Secrets and claims exist, asked again only after a while: many jobs name the same few."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

from batchai.errors import KubeApiError
from batchai.kube.client import CLAIMS, KubeApi

_TRUSTED = timedelta(seconds=60)
"""What is deleted in the meantime is named by the kubelet's or the scheduler's own message."""

Kind = Literal["Secret", "PersistentVolumeClaim"]


class Presence:
    """Remembers what was seen; what is missing is asked for every time."""

    def __init__(self, api: KubeApi, clock: Callable[[], datetime]) -> None:
        self._api = api
        self._clock = clock
        self._seen: dict[tuple[Kind, str, str], datetime] = {}

    async def exists(self, kind: Kind, namespace: str, name: str) -> bool:
        """Whether the object exists. Raises KubeApiError.

        Where a quota or a policy refuses even to try a Secret, it is taken to exist: the kubelet will tell.
        """
        key = (kind, namespace, name)
        now = self._clock()
        self._seen = {seen: at for seen, at in self._seen.items() if now - at < _TRUSTED}
        if key not in self._seen and await self._ask(*key):
            self._seen[key] = now
        return key in self._seen

    async def _ask(self, kind: Kind, namespace: str, name: str) -> bool:
        try:
            if kind == "Secret":
                return await self._api.exists_secret(namespace, name)
            await self._api.get(CLAIMS, name, namespace=namespace)
        except KubeApiError as error:
            if kind == "PersistentVolumeClaim" and error.not_found:
                return False
            if kind == "Secret" and error.refused:
                return True
            raise
        return True
