"""Whether Secrets exist, asked again only after a while: many jobs name the same few."""

from collections.abc import Callable
from datetime import datetime, timedelta

from batchai.kube.client import KubeApi

_TRUSTED = timedelta(seconds=60)
"""A Secret that is deleted in the meantime is named by the kubelet's own message."""


class SecretPresence:
    """Remembers Secrets that were seen; one that is missing is asked for every time."""

    def __init__(self, api: KubeApi, clock: Callable[[], datetime]) -> None:
        self._api = api
        self._clock = clock
        self._seen: dict[tuple[str, str], datetime] = {}

    async def exists(self, namespace: str, name: str) -> bool:
        """Whether the Secret exists. Raises KubeApiError."""
        now = self._clock()
        self._seen = {key: at for key, at in self._seen.items() if now - at < _TRUSTED}
        key = (namespace, name)
        if key not in self._seen and await self._api.exists_secret(namespace, name):
            self._seen[key] = now
        return key in self._seen
