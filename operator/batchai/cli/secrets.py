"""Secret values of config files as Secrets, and the references that take their place. Pure."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from batchai.api import names
from batchai.cli.configfile import Properties
from batchai.cli.kube import Object

DOCKER_HUB = "https://index.docker.io/v1/"
"""What Docker's own config files call the default registry."""


def values(entries: Any) -> dict[str, str]:
    """The values that stand in a list of `{name, value | valueSecretReference}`."""
    return {
        entry["name"]: entry["value"]
        for entry in entries or []
        if isinstance(entry, dict) and {"name", "value"} <= entry.keys()
    }


def referring(entries: Any, secret_name: str) -> Any:
    """The same list with references to a Secret in the place of its values."""
    inline = values(entries)
    return [
        {
            "name": entry["name"],
            "valueFrom": {"secretKeyRef": {"name": secret_name, "key": entry["name"]}},
        }
        if isinstance(entry, dict) and "value" in entry and entry.get("name") in inline
        else entry
        for entry in entries
    ]


def opaque(name: str, namespace: str, data: Mapping[str, str]) -> Object:
    """A Secret of values by their names."""
    return _secret(name, namespace, "Opaque", data)


def registry(name: str, namespace: str, server: str | None, username: str, password: str) -> Object:
    """A Secret that lets the kubelet pull from a registry."""
    login = {
        "username": username,
        "password": password,
        "auth": base64.b64encode(f"{username}:{password}".encode()).decode(),
    }
    config = json.dumps({"auths": {server or DOCKER_HUB: login}})
    return _secret(name, namespace, "kubernetes.io/dockerconfigjson", {".dockerconfigjson": config})


def without_key(properties: Properties, name: str) -> Properties:
    """The properties without one of them."""
    return {key: value for key, value in properties.items() if key != name}


def _secret(name: str, namespace: str, kind: str, data: Mapping[str, str]) -> Object:
    labels = {names.LABEL_MANAGED_BY: names.MANAGED_BY}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "type": kind,
        "stringData": dict(data),
    }
