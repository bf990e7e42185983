"""What the client tells its observer when there is no answer; answers are exercised on the real cluster."""

from typing import Any

import aiohttp
import pytest

from batchai.errors import KubeApiError
from batchai.kube.client import JOBS, PODS, KubeClient


class Unreachable:
    """A session to a server that is not there."""

    async def request(self, *_: object, **__: object) -> Any:
        raise aiohttp.ClientConnectionError("refused")


async def test_a_request_without_an_answer_is_told_with_status_0() -> None:
    told: list[tuple[str, str, int]] = []
    client = KubeClient(
        Unreachable(),  # type: ignore[arg-type]
        "https://server",
        observe=lambda verb, resource, status, _seconds: told.append((verb, resource, status)),
    )
    with pytest.raises(KubeApiError, match="GET /api/v1/namespaces/ns/pods/p: refused"):
        await client.get(PODS, "p", namespace="ns")
    with pytest.raises(KubeApiError, match="refused"):
        await client.patch(JOBS, "j", {}, namespace="ns", subresource="status")
    with pytest.raises(KubeApiError, match="watch of pods: refused"):
        await anext(client.watch(PODS, "1"))
    assert told == [("get", "pods", 0), ("patch", "jobs/status", 0), ("watch", "pods", 0)]
