"""What the pods of a job of several nodes need to work together: names, an ssh key pair, a shared directory.

Builders only. Everything belongs to the Job and goes with it.
"""

import base64
import struct
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from batchai.api import names
from batchai.api.job import Job
from batchai.plan.naming import service_name, shared_claim_name, ssh_secret_name
from batchai.plan.ownership import owner

_KEY_TYPE = b"ssh-ed25519"


def metadata(job: Job, name: str) -> dict[str, Any]:
    """The metadata of everything that is made for a job besides its pods."""
    return {
        "name": name,
        "namespace": job.metadata.namespace,
        "labels": {names.LABEL_MANAGED_BY: names.MANAGED_BY, names.LABEL_JOB: job.metadata.name},
        "ownerReferences": [owner(job)],
    }


def service(job: Job) -> dict[str, Any]:
    """The headless Service that gives the pods names; a pod has one before it is ready, because it waits for them."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(job, service_name(job.metadata.name)),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {names.LABEL_JOB_UID: job.metadata.uid},
        },
    }


def ssh_secret(job: Job, seed: bytes) -> dict[str, Any]:
    """The key pair with which the job's nodes know one another. seed: 32 random bytes.

    The private key is in dropbear's format: the type, then seed and public key as one string of 64 bytes.
    """
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    line = b"ssh-ed25519 " + base64.b64encode(_string(_KEY_TYPE) + _string(public)) + b"\n"
    data = {"id": _string(_KEY_TYPE) + _string(seed + public), "id.pub": line}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(job, ssh_secret_name(job.metadata.name, job.metadata.uid)),
        "type": "Opaque",
        "immutable": True,
        "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
    }


def shared_claim(job: Job, storage_class: str) -> dict[str, Any]:
    """The claim for the directory that the job's nodes share, where no Azure file share can hold it."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(job, shared_claim_name(job.metadata.name, job.metadata.uid)),
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": storage_class,
            "resources": {"requests": {"storage": "10Gi"}},
        },
    }


def _string(value: bytes) -> bytes:
    """A string of the SSH protocol (RFC 4251 §5)."""
    return struct.pack(">I", len(value)) + value
