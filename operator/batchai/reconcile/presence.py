"""Whether Secrets and claims exist, asked again only after a while: many jobs name the same few."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

from batchai.errors import KubeApiError
from batchai.kube.client import CLAIMS, KubeApi

LOOK_AGAIN = timedelta(seconds=5)
"""How long what is missing is taken to be: the operator may not watch Secrets, and needs to watch no claims."""
_TRUSTED = timedelta(seconds=60)
"""What is deleted in the meantime is named by the kubelet's or the scheduler's own message."""

Kind = Literal["Secret", "PersistentVolumeClaim"]


class Presence:
    """Remembers what was there, and for a shorter time what was not."""

    def __init__(self, api: KubeApi, clock: Callable[[], datetime]) -> None:
        self._api = api
        self._clock = clock
        self._known: dict[tuple[Kind, str, str], tuple[bool, datetime]] = {}
        """Whether it was there, and until when that is believed."""

    async def exists(self, kind: Kind, namespace: str, name: str) -> bool:
        """Whether the object exists. Raises KubeApiError.

        Where a quota or a policy refuses even to try a Secret, it is taken to exist: the kubelet will tell.
        """
        key = (kind, namespace, name)
        now = self._clock()
        found = self._known.get(key)
        if found is None or found[1] <= now:
            self._known = {known: answer for known, answer in self._known.items() if answer[1] > now}
            there = await self._ask(*key)
            found = self._known[key] = there, now + (_TRUSTED if there else LOOK_AGAIN)
        return found[0]

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
