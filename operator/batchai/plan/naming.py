"""Names as functions of identity (design §4.3): nothing here knows a clock or chance."""

import hashlib
import re


def resource_name(azure_name: str) -> str:
    """The Kubernetes name of an Azure name: `cntk_Python_1` → `cntk-python-1`.

    Different Azure names may meet in one Kubernetes name; see `unique_resource_name`.
    """
    return re.sub(r"[^a-z0-9]+", "-", azure_name.lower()).strip("-") or "x"


def unique_resource_name(azure_name: str, *identity: str) -> str:
    """`resource_name` with a suffix that depends on the whole identity, for names that are taken."""
    digest = hashlib.sha1("/".join((*identity, azure_name)).encode(), usedforsecurity=False).hexdigest()
    return f"{resource_name(azure_name)}-{digest[:6]}"


def pod_name(job: str, attempt: int, index: int) -> str:
    """The name of the pod of one node of one attempt; a second create meets the first (design §2.2)."""
    return f"{job}-{attempt}-{index}"


def service_name(job: str, attempt: int) -> str:
    """The name of the headless Service that names the pods of one attempt."""
    return f"{job}-{attempt}"
