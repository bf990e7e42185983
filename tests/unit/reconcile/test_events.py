"""How few Events are written; the API only notes what it is sent. The cluster's tests see real ones."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.unit.builders import NOW, job_raw

from batchai.errors import KubeApiError
from batchai.reconcile import events
from batchai.reconcile.events import Recorder
from batchai.status.events import Notice

LOST = Notice("Requeued", "Attempt 1 did not count", warning=True)


class Sink:
    """An API that takes Events, or refuses them."""

    def __init__(self) -> None:
        self.created: list[dict[str, Any]] = []
        self.patched: list[tuple[str, dict[str, Any]]] = []
        self.refuses = False

    async def create(self, _resource: object, body: dict[str, Any], *, namespace: str) -> dict[str, Any]:
        if self.refuses:
            raise KubeApiError(403, "Forbidden", "the namespace is being terminated")
        assert namespace == body["metadata"]["namespace"]
        self.created.append(body)
        return body

    async def patch(self, _resource: object, name: str, body: dict[str, Any], *, namespace: str) -> dict[str, Any]:
        self.patched.append((name, body))
        return body


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def recorder(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    monkeypatch.setattr(events, "REST_SECONDS", 0.2)
    monkeypatch.setattr(events, "PER_SECOND", 1000.0)
    return Recorder(sink, instance="batchai-operator-1", clock=lambda: NOW)  # type: ignore[arg-type]


@contextmanager
def running(recorder: Recorder) -> Iterator[None]:
    task = asyncio.create_task(recorder.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()


def named(name: str) -> dict[str, Any]:
    raw = job_raw(name)
    return raw | {"metadata": raw["metadata"] | {"uid": f"uid-{name}"}}


async def test_an_event_names_its_object(sink: Sink, recorder: Recorder) -> None:
    with running(recorder):
        recorder.record(named("a"), LOST)
        await asyncio.sleep(0.05)
    (event,) = sink.created
    assert event["metadata"]["name"].startswith("a.")
    assert event["regarding"] == {
        "apiVersion": "batchai.dev/v1alpha1",
        "kind": "Job",
        "name": "a",
        "namespace": "ns",
        "uid": "uid-a",
    }
    assert (event["type"], event["reason"], event["note"]) == ("Warning", LOST.reason, LOST.note)
    assert event["eventTime"] == "2026-05-04T03:02:01.000000Z"
    assert "series" not in event


async def test_the_same_again_is_counted_in_one_write_after_a_rest(sink: Sink, recorder: Recorder) -> None:
    with running(recorder):
        recorder.record(named("a"), LOST)
        await asyncio.sleep(0.05)
        for _ in range(3):
            recorder.record(named("a"), LOST)
        await asyncio.sleep(0.05)
        assert sink.patched == []
        await asyncio.sleep(0.2)
    assert len(sink.created) == 1
    ((name, body),) = sink.patched
    assert name == sink.created[0]["metadata"]["name"]
    assert body == {"series": {"count": 4, "lastObservedTime": "2026-05-04T03:02:01.000000Z"}}


async def test_the_last_of_many_different_ones_is_written_after_the_rest(sink: Sink, recorder: Recorder) -> None:
    with running(recorder):
        for number in range(5):
            recorder.record(named("a"), Notice("NodesAdded", f"from {number} to {number + 1} nodes"))
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.25)
    assert [event["note"] for event in sink.created] == ["from 0 to 1 nodes", "from 4 to 5 nodes"]
    assert sink.patched == []


async def test_of_too_many_the_oldest_are_dropped(
    sink: Sink, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "WAITING", 3)
    for number in range(5):
        recorder.record(named(f"j{number}"), LOST)
    with running(recorder):
        await asyncio.sleep(0.05)
    assert [event["regarding"]["name"] for event in sink.created] == ["j2", "j3", "j4"]
    assert recorder.dropped == {"full": 2, "refused": 0, "failed": 0}


async def test_a_refusal_is_counted_and_the_next_one_is_written(sink: Sink, recorder: Recorder) -> None:
    with running(recorder):
        sink.refuses = True
        recorder.record(named("a"), LOST)
        await asyncio.sleep(0.05)
        sink.refuses = False
        recorder.record(named("a"), LOST)
        await asyncio.sleep(0.05)
    assert len(sink.created) == 1
    assert recorder.dropped == {"full": 0, "refused": 1, "failed": 0}


async def test_a_notice_that_nobody_can_write_holds_up_no_other(sink: Sink, recorder: Recorder) -> None:
    nameless = named("a")
    del nameless["metadata"]["name"]
    with running(recorder):
        recorder.record(nameless, LOST)
        recorder.record(named("b"), LOST)
        await asyncio.sleep(0.1)
    assert [event["regarding"]["name"] for event in sink.created] == ["b"]
    assert recorder.dropped["failed"] == 1


async def test_no_more_than_so_many_a_second(sink: Sink, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PER_SECOND", 20.0)
    for number in range(50):
        recorder.record(named(f"j{number}"), LOST)
    with running(recorder):
        await asyncio.sleep(0.5)
    assert 1 < len(sink.created) <= 11
