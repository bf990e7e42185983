"""Names as functions of identity (design §4.3): nothing here knows a clock or chance."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from batchai.api import names

LONGEST = 50
"""Characters of a Job's name: the names of its pods add an attempt and an index to it (63 in all)."""


def azure_name(resource: Mapping[str, Any]) -> str:
    """The name that Batch AI's users know: the label if there is one, else the Kubernetes name."""
    metadata = resource["metadata"]
    return str(metadata.get("labels", {}).get(names.LABEL_NAME) or metadata["name"])


def resource_name(azure_name: str) -> str:
    """The Kubernetes name of an Azure name: `cntk_Python_1` → `cntk-python-1`.

    Different Azure names may meet in one Kubernetes name; see `unique_resource_name`. A long name is cut, and
    gets a suffix that depends on all of it.
    """
    name = re.sub(r"[^a-z0-9]+", "-", azure_name.lower()).strip("-") or "x"
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 7].strip('-')}-{_digest(azure_name)}"


def unique_resource_name(azure_name: str, *identity: str) -> str:
    """`resource_name` with a suffix that depends on the whole identity, for names that are taken."""
    suffix = _digest("/".join((*identity, azure_name)))
    return f"{resource_name(azure_name)[: LONGEST - 7].strip('-')}-{suffix}"


def _digest(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:6]


def pod_name(job: str, attempt: int, index: int) -> str:
    """The name of the pod of one node of one attempt; a second create meets the first (design §2.2)."""
    return f"{job}-{attempt}-{index}"


def service_name(job: str) -> str:
    """The headless Service of a job of several nodes (a Service's name begins with a letter, a Job's may not)."""
    return f"batchai-{job}"


def host_name(job: str, attempt: int, index: int) -> str:
    """The name under which the other pods of the job resolve one of them; it needs no cluster domain."""
    return f"{pod_name(job, attempt, index)}.{service_name(job)}"


def ssh_secret_name(job: str, uid: str) -> str:
    """The Secret with the key pair of one job, never that of an earlier one of the name."""
    return f"{job}-ssh-{uid[:8]}"


def vault_name(job: str, uid: str, vault: str) -> str:
    """What the driver is told about a Key Vault of one job, and the Secret that it keeps of it."""
    return f"{job}-vault-{vault}-{uid[:8]}"


def shared_claim_name(job: str, uid: str) -> str:
    """The claim for the directory that the nodes of one job share."""
    return f"{job}-shared-{uid[:8]}"


def file_server_name(server: str) -> str:
    """The StatefulSet and the Service of a FileServer.

    A StatefulSet's name leaves room for its pods' labels, and a Service's has no dots.
    """
    name = f"fileserver-{server.replace('.', '-')}"
    if len(name) <= LONGEST and "." not in server:
        return name
    return f"{name[: LONGEST - 7].strip('-')}-{_digest(server)}"


def placeholder_name(cluster: str, uid: str, index: int) -> str:
    """The pod that asks for one of the nodes that a Cluster lacks."""
    return f"{cluster}-placeholder-{uid[:8]}-{index}"


def buffer_name(cluster: str, uid: str) -> str:
    """The CapacityBuffer, and its PodTemplate, that ask for the nodes that a Cluster lacks."""
    return f"{cluster}-missing-{uid[:8]}"


def setup_name(cluster: str, node: str, fingerprint: str) -> str:
    """The pod that makes a node ready for a Cluster; another one after a reboot."""
    return f"{cluster}-setup-{_digest(node)}-{fingerprint}"
