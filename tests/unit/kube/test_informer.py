"""What an informer makes of lists and changes; the watch itself is exercised on the real cluster."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from batchai.errors import KubeApiError
from batchai.kube.client import PODS
from batchai.kube.informer import Informer, Selection
from batchai.kube.store import Store


def pod(name: str, uid: str, version: int) -> dict[str, Any]:
    return {"metadata": {"namespace": "ns", "name": name, "uid": uid, "resourceVersion": str(version)}}


class Lists:
    """A client that knows nothing but lists."""

    def __init__(self, *answers: list[dict[str, Any]]) -> None:
        self._answers = list(answers)

    async def list(
        self, *_: object, slim: Callable[[dict[str, Any]], dict[str, Any] | None], **__: object
    ) -> tuple[list[dict[str, Any]], str]:
        return [kept for kept in map(slim, self._answers.pop(0)) if kept is not None], "100"


async def test_a_new_list_tells_of_deletions_that_nobody_saw() -> None:
    told: list[tuple[str | None, str | None]] = []

    def listen(before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
        uid = (item["metadata"]["uid"] if item else None for item in (before, after))
        told.append((next(uid), next(uid)))

    first = [pod("a", "1", 1), pod("b", "2", 2)]
    second = [pod("b", "2", 5), pod("a", "3", 6)]
    informer = Informer(Lists(first, second), Selection(PODS), Store(), listen)  # type: ignore[arg-type]
    assert await informer.sync() == "100"
    assert told == [(None, "1"), (None, "2")]
    told.clear()
    await informer.sync()
    assert told == [("1", None), ("2", "2"), (None, "3")]


class Silence(Lists):
    """A client whose watches are answered, and bring nothing."""

    def __init__(self, watches: int) -> None:
        super().__init__([])
        self._left = watches

    async def watch(self, *_: object, opened: Callable[[], None], **__: object) -> AsyncIterator[tuple[str, Any]]:
        if not self._left:
            raise asyncio.CancelledError
        self._left -= 1
        opened()
        for nothing in ():
            yield nothing


async def test_a_server_that_has_nothing_to_tell_is_not_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(0, 200)
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    informer = Informer(Silence(5), Selection(PODS), Store(), lambda *_: None)  # type: ignore[arg-type]
    with pytest.raises(asyncio.CancelledError):
        await informer.run(await informer.sync())
    assert informer.silence == 200


class Failing(Silence):
    """A client whose watches fail: with 410 once they are open, but for those that the server does not answer."""

    def __init__(self, *answered: bool) -> None:
        super().__init__(len(answered))
        self._answers = [[] for _ in range(10)]
        self._answered = list(answered)

    async def watch(self, *_: object, opened: Callable[[], None], **__: object) -> AsyncIterator[tuple[str, Any]]:
        async for nothing in super().watch(opened=opened if self._answered and self._answered[0] else lambda: None):
            yield nothing
        raise KubeApiError(410, "Expired", "too old") if self._answered.pop(0) else KubeApiError(0, "Lost", "lost")


async def test_a_server_that_answers_is_soon_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though a watch of Events may bring nothing between two times that its version is too old."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("batchai.kube.informer.asyncio.sleep", sleep)
    monkeypatch.setattr("random.uniform", lambda *_: 1.0)
    client = Failing(True, True, True, False, False, True, False)
    informer = Informer(client, Selection(PODS), Store(), lambda *_: None)  # type: ignore[arg-type]
    with pytest.raises(asyncio.CancelledError):
        await informer.run(await informer.sync())
    assert slept == [0.5, 0.5, 0.5, 0.5, 1.0, 0.5, 0.5]


async def test_what_a_worker_created_while_a_list_was_made_stays_known() -> None:
    store = Store()
    informer = Informer(Lists([]), Selection(PODS), store, lambda *_: None)  # type: ignore[arg-type]
    store.put(pod("new", "1", 101))
    store.put(pod("old", "2", 99))
    await informer.sync()
    assert [item["metadata"]["name"] for item in store.items()] == ["new"]


class Changes(Lists):
    """A client whose only watch brings these, after a list."""

    def __init__(self, listed: list[dict[str, Any]], *changes: tuple[str, dict[str, Any]]) -> None:
        super().__init__(listed)
        self._changes: list[tuple[str, dict[str, Any]]] | None = list(changes)

    async def watch(self, *_: object, **__: object) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        if self._changes is None:
            raise asyncio.CancelledError
        changes, self._changes = self._changes, None
        for change in changes:
            yield change


def odd(name: str, uid: str, version: int) -> dict[str, Any]:
    return pod(name, uid, version) | {"odd": True}


def strict(item: dict[str, Any]) -> dict[str, Any]:
    if item.get("odd"):
        raise KeyError("spec")
    return item


async def test_one_odd_object_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []

    def listen(before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
        name = (after or before or {})["metadata"]["name"]
        if name.startswith("unheard"):
            raise KeyError("labels")
        told.append(name)

    client = Changes(
        [odd("odd", "1", 1), pod("unheard", "2", 2), pod("a", "3", 3)],
        ("ADDED", odd("odder", "4", 4)),
        ("ADDED", pod("unheard-2", "5", 5)),
        ("DELETED", pod("unheard", "2", 6)),
        ("ADDED", pod("b", "6", 7)),
    )
    informer = Informer(client, Selection(PODS, slim=strict), Store(), listen)  # type: ignore[arg-type]
    with pytest.raises(asyncio.CancelledError):
        await informer.run(await informer.sync())
    assert told == ["a", "b"]
    assert "left out of pods: ns/odder" in caplog.text
    assert "Traceback" in caplog.text


async def test_an_object_that_turns_odd_is_not_taken_for_gone() -> None:
    store = Store()
    informer = Informer(
        Lists([pod("a", "1", 1)], [odd("a", "1", 2)], [odd("a", "2", 3)]),  # type: ignore[arg-type]
        Selection(PODS, slim=strict),
        store,
        lambda *_: None,
    )
    await informer.sync()
    await informer.sync()
    assert [item["metadata"]["resourceVersion"] for item in store.items()] == ["1"]
    await informer.sync()
    assert store.items() == [], "another one has its name"


async def test_an_object_that_cannot_be_indexed_is_not_kept() -> None:
    store = Store({"job": lambda item: str(item["labels"])})
    informer = Informer(Lists([pod("a", "1", 1)]), Selection(PODS), store, lambda *_: None)  # type: ignore[arg-type]
    await informer.sync()
    assert store.items() == []
