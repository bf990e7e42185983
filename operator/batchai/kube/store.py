"""What is known of objects: by kind for our own kinds, by index for pods. Newer versions win."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Object = dict[str, Any]
Identity = tuple[str, str]

PARENTS = ("workspace", "experiment", "cluster")
"""Fields of specs that name the object that an object belongs to, in the same namespace."""
_TOMBSTONES = 10_000
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def identity(item: Mapping[str, Any]) -> Identity:
    """(namespace, name); the namespace of cluster-wide objects is ""."""
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def newer(item: Mapping[str, Any], known: Mapping[str, Any] | None) -> bool:
    """Whether an object is news: another object of the name, or a later version of the known one."""
    if known is None or item["metadata"]["uid"] != known["metadata"]["uid"]:
        return True
    return int(item["metadata"]["resourceVersion"]) > int(known["metadata"]["resourceVersion"])


def unlisted(known: Iterable[Object], items: Iterable[Object], version: str) -> list[Object]:
    """The known objects that a list of this resourceVersion shows to be gone.

    Not those that are newer than the list: a worker has just created or changed them.
    """
    listed = {item["metadata"]["uid"] for item in items}
    return [
        item
        for item in known
        if item["metadata"]["uid"] not in listed and int(item["metadata"]["resourceVersion"]) <= int(version)
    ]


def slim(item: Object) -> Object:
    """An object without its managed fields and without kubectl's copy of it."""
    metadata = {name: value for name, value in item["metadata"].items() if name != "managedFields"}
    if _APPLIED in metadata.get("annotations", {}):
        metadata["annotations"] = {name: text for name, text in metadata["annotations"].items() if name != _APPLIED}
    return {**item, "metadata": metadata}


class Store:
    """Objects of one resource with indexes (index name → the value of an object in it, or None).

    An object whose deletion was seen does not come back by the late answer to a write of ours.
    """

    def __init__(self, indexes: Mapping[str, Callable[[Object], str | None]] | None = None) -> None:
        self._items: dict[Identity, Object] = {}
        self._functions = dict(indexes or {})
        # Without values, instead of sets: the order in which objects came, and no sorting at each look.
        self._indexes: dict[str, defaultdict[str, dict[Identity, None]]] = {
            name: defaultdict(dict) for name in self._functions
        }
        self._deleted: dict[str, None] = {}

    def get(self, namespace: str, name: str) -> Object | None:
        """The object, if it is known."""
        return self._items.get((namespace, name))

    def items(self) -> list[Object]:
        """All objects."""
        return list(self._items.values())

    def by_index(self, index: str, value: str) -> list[Object]:
        """The objects that have this value in the index."""
        return [self._items[key] for key in self._indexes[index].get(value, ())]

    def put(self, item: Object) -> bool:
        """Keeps an object unless a newer one is known; whether it was kept."""
        key = identity(item)
        known = self._items.get(key)
        if item["metadata"]["uid"] in self._deleted or not newer(item, known):
            return False
        # Before anything changes: an object that cannot be indexed leaves no trace.
        values = {name: function(item) for name, function in self._functions.items()}
        self._items[key] = item
        for name, after in values.items():
            before = self._functions[name](known) if known is not None else None
            if before != after:
                self._unindex(name, before, key)
                if after is not None:
                    self._indexes[name][after][key] = None
        return True

    def remove(self, item: Mapping[str, Any]) -> None:
        """The object was deleted; another one may have its name already."""
        self._deleted[item["metadata"]["uid"]] = None
        while len(self._deleted) > _TOMBSTONES:
            del self._deleted[next(iter(self._deleted))]
        key = identity(item)
        known = self._items.get(key)
        if known is not None and known["metadata"]["uid"] == item["metadata"]["uid"]:
            for name, function in self._functions.items():
                self._unindex(name, function(known), key)
            del self._items[key]

    def _unindex(self, name: str, value: str | None, key: Identity) -> None:
        if value is None:
            return
        members = self._indexes[name][value]
        del members[key]
        if not members:
            del self._indexes[name][value]


class ObjectStore:
    """Our own kinds, each in a Store.

    Kept without what only the API server and kubectl look at, which is half of an object.
    """

    def __init__(self, kinds: Iterable[str]) -> None:
        indexes = {"namespace": _namespace, **{field: _parent(field) for field in PARENTS}}
        self._stores = {kind: Store(indexes) for kind in kinds}

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object, if it is known."""
        return self._stores[kind].get(namespace, name)

    def children(self, kind: str, field: str, namespace: str, name: str) -> list[Object]:
        """The objects of a kind that name a parent in a field of PARENTS of their spec."""
        return self._stores[kind].by_index(field, f"{namespace}/{name}")

    def list(self, kind: str, namespace: str | None = None) -> list[Object]:
        """The objects of a kind, in one namespace or in all."""
        store = self._stores[kind]
        return store.items() if namespace is None else store.by_index("namespace", namespace)

    def put(self, kind: str, item: Object) -> bool:
        """Keeps an object unless a newer one is known; whether it was kept."""
        return self._stores[kind].put(slim(item))

    def remove(self, kind: str, item: Mapping[str, Any]) -> None:
        """The object was deleted."""
        self._stores[kind].remove(item)


def _namespace(item: Object) -> str:
    namespace: str = item["metadata"]["namespace"]
    return namespace


def _parent(field: str) -> Callable[[Object], str | None]:
    def of(item: Object) -> str | None:
        name = item["spec"].get(field)
        return f"{item['metadata']['namespace']}/{name}" if name else None

    return of
