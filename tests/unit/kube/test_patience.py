"""Waiting for an API server that is away, or refuses."""

import pytest

from batchai.errors import KubeApiError
from batchai.kube import patience
from batchai.kube.patience import insist


class Refusals:
    """Refuses some times, then answers; a minute of the clock passes with `per_minute` of them."""

    def __init__(self, times: int, monkeypatch: pytest.MonkeyPatch, *, per_minute: int) -> None:
        self._left = times
        self._now = 0.0
        self._seconds = patience._SAY_SECONDS / per_minute
        monkeypatch.setattr("batchai.kube.patience._PAUSE_SECONDS", 0)
        monkeypatch.setattr("time.monotonic", lambda: self._now)

    async def __call__(self) -> str:
        self._now += self._seconds
        self._left -= 1
        if self._left >= 0:
            raise KubeApiError(403, "Forbidden", "leases is forbidden")
        return "answer"


async def test_a_refusal_is_told_at_once_and_then_rarely(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert await insist(Refusals(1, monkeypatch, per_minute=20), "taking the Lease") == "answer"
    [told] = caplog.messages
    assert told == "taking the Lease fails and is tried again: leases is forbidden (Forbidden 403)"
    caplog.clear()
    await insist(Refusals(100, monkeypatch, per_minute=20), "taking the Lease")
    assert len(caplog.messages) == 5
