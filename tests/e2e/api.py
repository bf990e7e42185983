"""Reads of the API server that tests repeat until something holds: without a process for each, as kubectl is one."""

import json
from collections.abc import Iterator
from typing import Any

from kubernetes import config

_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

Object = dict[str, Any]


class Api:
    """GET requests for resources by the names that kubectl knows: plural (also with group), singular, short or kind."""

    def __init__(self) -> None:
        self._client = config.new_client_from_config()
        self._paths: dict[str, str] = {}

    def get(self, kind: str, name: str, namespace: str = "") -> Object:
        return self._read(f"{self._path(kind, namespace)}/{name}")

    def list(self, kind: str, namespace: str = "", selector: str = "") -> list[Object]:
        """The objects; the API server leaves their kinds and versions out of lists."""
        found = self._read(self._path(kind, namespace), labelSelector=selector)
        items: list[Object] = found["items"]
        return items

    def _path(self, kind: str, namespace: str) -> str:
        if kind.lower() not in self._paths:
            self._paths = dict(self._discovered())
        assert kind.lower() in self._paths, f"the cluster knows no {kind}"
        return self._paths[kind.lower()].format(f"/namespaces/{namespace}" if namespace else "")

    def _discovered(self) -> Iterator[tuple[str, str]]:
        """Name → path with a place for the namespace; of two groups with one name the core's comes last and stays."""
        for root in ("/apis", "/api"):
            for group in reversed(self._read(root, accept=_DISCOVERY)["items"]):
                prefix = f"{root}/{group['metadata']['name']}/" if root == "/apis" else f"{root}/"
                version = group["versions"][0]
                for resource in version["resources"]:
                    kind = resource["responseKind"]["kind"].lower()
                    plural = resource["resource"]
                    names = {
                        plural,
                        resource.get("singularResource"),
                        kind,
                        f"{plural}.{group['metadata'].get('name')}",
                    }
                    for name in names.union(resource.get("shortNames", [])):
                        if name:
                            yield name, f"{prefix}{version['version']}{{}}/{plural}"

    def _read(self, path: str, accept: str = "application/json", **query: str) -> Object:
        request = self._client.param_serialize(
            "GET",
            path,
            query_params=[(name, value) for name, value in query.items() if value],
            header_params={"Accept": accept},
            auth_settings=["BearerToken"],
        )
        response = self._client.call_api(*request, _request_timeout=60)
        data = response.read()
        assert response.status == 200, f"{path}: {data.decode()}"
        found: Object = json.loads(data)
        return found
