"""Who owns what the operator makes: what belongs to a resource goes with it."""

from typing import Any

from batchai.api import names
from batchai.api.cluster import Cluster
from batchai.api.fileserver import FileServer
from batchai.api.job import Job


def owner(resource: Cluster | FileServer | Job) -> dict[str, Any]:
    """The ownerReference of everything that is made for a resource."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": type(resource).__name__,
        "name": resource.metadata.name,
        "uid": resource.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
