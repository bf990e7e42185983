"""Whether Secrets and claims exist, asked again only after a while: many jobs name the same few."""

from collections.abc import Callable
from datetime import datetime, timedelta

from batchai.errors import KubeApiError
from batchai.kube.client import CLAIMS, KubeApi

_TRUSTED = timedelta(seconds=60)
"""What is deleted in the meantime is named by the kubelet's or the scheduler's own message."""


class Presence:
    """Remembers what was seen; what is missing is asked for every time. Methods raise KubeApiError."""

    def __init__(self, api: KubeApi, clock: Callable[[], datetime]) -> None:
        self._api = api
        self._clock = clock
        self._seen: dict[tuple[str, str, str], datetime] = {}

    async def secret(self, namespace: str, name: str) -> bool:
        """Whether the Secret exists."""
        return await self._exists(("Secret", namespace, name))

    async def claim(self, namespace: str, name: str) -> bool:
        """Whether the PersistentVolumeClaim exists."""
        return await self._exists(("PersistentVolumeClaim", namespace, name))

    async def _exists(self, key: tuple[str, str, str]) -> bool:
        now = self._clock()
        self._seen = {seen: at for seen, at in self._seen.items() if now - at < _TRUSTED}
        if key not in self._seen and await self._ask(*key):
            self._seen[key] = now
        return key in self._seen

    async def _ask(self, kind: str, namespace: str, name: str) -> bool:
        if kind == "Secret":
            return await self._api.exists_secret(namespace, name)
        try:
            await self._api.get(CLAIMS, name, namespace=namespace)
        except KubeApiError as error:
            if error.not_found:
                return False
            raise
        return True
