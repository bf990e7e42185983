"""`--use-auto-storage`: what the service made in an account of its own, as claims of the namespace (reference §8).

The claims have the service's names for its share and container; whatever cluster asks for them gets the same ones.
"""

from collections.abc import Iterator

from batchai.api import names
from batchai.cli import kube
from batchai.cli.configfile import Properties
from batchai.cli.kube import Object
from batchai.cli.session import Session
from batchai.errors import KubeApiError

_MOUNTS = {"batchaishare": "autoafs", "batchaicontainer": "autobfs"}
"""Claim → where it is mounted."""
_SIZE = "100Gi"


def mounts() -> list[Properties]:
    """The claims as entries of persistentVolumeClaims."""
    return [{"claimName": claim, "relativeMountPath": path} for claim, path in _MOUNTS.items()]


def provide(session: Session, namespace: str, storage_class: str | None) -> None:
    """Makes the claims that are not there. storage_class: None for the default one; it must know ReadWriteMany."""
    for body in _claims(namespace, storage_class):
        try:
            session.kube.create(kube.CLAIMS, namespace, body)
        except KubeApiError as error:
            if not error.already_exists:
                raise
            session.say(f"Claim '{body['metadata']['name']}' is there already: the cluster gets that one.")


def _claims(namespace: str, storage_class: str | None) -> Iterator[Object]:
    for claim in _MOUNTS:
        yield {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": claim,
                "namespace": namespace,
                "labels": {names.LABEL_MANAGED_BY: names.MANAGED_BY},
            },
            "spec": {
                "accessModes": ["ReadWriteMany"],
                **({"storageClassName": storage_class} if storage_class else {}),
                "resources": {"requests": {"storage": _SIZE}},
            },
        }
