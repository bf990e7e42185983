"""What is made of the frames of an exec; the connection itself is exercised on the real cluster."""

import io
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.stream import ws_client as ws

from batchai.cli import kubestreams

SUCCESS = b'{"status": "Success"}'
Frame = tuple[int, bytes]


class Stream:
    """The library's client: reading a channel that holds nothing takes all frames that are there, the end, too."""

    def __init__(self, *batches: Sequence[Frame]) -> None:
        self._batches = list(batches)
        self._channels: dict[int, bytes] = {}

    def is_open(self) -> bool:
        return bool(self._batches)

    def update(self, timeout: float | None = 0) -> None:
        for channel, data in self._batches.pop(0) if self._batches else ():
            self._channels[channel] = self._channels.get(channel, b"") + data

    def read_channel(self, channel: int) -> bytes:
        if channel not in self._channels:
            self.update()
        return self._channels.pop(channel, b"")

    def close(self) -> None:
        """Nothing."""


def test_what_comes_with_the_end_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err, error = ws.STDOUT_CHANNEL, ws.STDERR_CHANNEL, ws.ERROR_CHANNEL
    stream = Stream([(out, b"one ")], [(out, b"two"), (err, b"oh"), (error, SUCCESS)])
    monkeypatch.setattr(ws, "WSClient", lambda *_, **__: stream)
    monkeypatch.setattr(ws, "get_websocket_url", lambda url: url)
    serialized = ("GET", "https://server/exec", {}, None, None)
    client: Any = SimpleNamespace(
        configuration=SimpleNamespace(host="https://server"), param_serialize=lambda *_, **__: serialized
    )
    written, said = io.BytesIO(), io.BytesIO()
    assert kubestreams.execute(client, "/exec", "job", ["true"], written, said) == 0
    assert (written.getvalue(), said.getvalue()) == (b"one two", b"oh")
