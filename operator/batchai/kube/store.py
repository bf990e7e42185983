"""What is known of objects: by kind for our own kinds, by index for pods. Newer versions win."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Object = dict[str, Any]
Identity = tuple[str, str]


def identity(item: Mapping[str, Any]) -> Identity:
    """(namespace, name); the namespace of cluster-wide objects is ""."""
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def newer(item: Mapping[str, Any], known: Mapping[str, Any] | None) -> bool:
    """Whether an object is news: another object of the name, or a later version of the known one."""
    if known is None or item["metadata"]["uid"] != known["metadata"]["uid"]:
        return True
    return int(item["metadata"]["resourceVersion"]) > int(known["metadata"]["resourceVersion"])


class Store:
    """Objects of one resource with indexes (index name → the value of an object in it, or None)."""

    def __init__(self, indexes: Mapping[str, Callable[[Object], str | None]] | None = None) -> None:
        self._items: dict[Identity, Object] = {}
        self._functions = dict(indexes or {})
        self._indexes: dict[str, dict[str, set[Identity]]] = {name: defaultdict(set) for name in self._functions}

    def get(self, namespace: str, name: str) -> Object | None:
        """The object, if it is known."""
        return self._items.get((namespace, name))

    def items(self) -> list[Object]:
        """All objects."""
        return list(self._items.values())

    def by_index(self, index: str, value: str) -> list[Object]:
        """The objects that have this value in the index."""
        return [self._items[key] for key in sorted(self._indexes[index].get(value, ()))]

    def put(self, item: Object) -> bool:
        """Keeps an object unless a newer one is known; whether it was kept."""
        key = identity(item)
        known = self._items.get(key)
        if not newer(item, known):
            return False
        if known is not None:
            self._unindex(key, known)
        self._items[key] = item
        for name, value in self._values(item):
            self._indexes[name][value].add(key)
        return True

    def remove(self, item: Mapping[str, Any]) -> None:
        """Forgets an object, unless another one has its name now."""
        key = identity(item)
        known = self._items.get(key)
        if known is not None and known["metadata"]["uid"] == item["metadata"]["uid"]:
            self._unindex(key, known)
            del self._items[key]

    def _unindex(self, key: Identity, item: Object) -> None:
        for name, value in self._values(item):
            members = self._indexes[name][value]
            members.discard(key)
            if not members:
                del self._indexes[name][value]

    def _values(self, item: Object) -> Iterable[tuple[str, str]]:
        for name, function in self._functions.items():
            value = function(item)
            if value is not None:
                yield name, value


class ObjectStore:
    """Our own kinds, each in a Store. An object whose deletion was seen does not come back by a late answer."""

    def __init__(self, kinds: Iterable[str]) -> None:
        self._stores = {kind: Store() for kind in kinds}
        self._deleted: dict[str, None] = {}

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object, if it is known."""
        return self._stores[kind].get(namespace, name)

    def list(self, kind: str, namespace: str | None = None) -> list[Object]:
        """The objects of a kind, in one namespace or in all."""
        items = self._stores[kind].items()
        return [item for item in items if namespace is None or item["metadata"]["namespace"] == namespace]

    def put(self, kind: str, item: Object) -> bool:
        """Keeps an object unless a newer one is known; whether it was kept."""
        if item["metadata"]["uid"] in self._deleted:
            return False
        return self._stores[kind].put(item)

    def remove(self, kind: str, item: Mapping[str, Any]) -> None:
        """The object was deleted."""
        self._deleted[item["metadata"]["uid"]] = None
        while len(self._deleted) > 10_000:
            del self._deleted[next(iter(self._deleted))]
        self._stores[kind].remove(item)
