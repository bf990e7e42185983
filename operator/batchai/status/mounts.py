"""Why a volume could not be mounted: Batch AI's code, a hint in plain words, and the driver's or the kubelet's own."""

import re
from collections.abc import Sequence
from datetime import datetime

from batchai.api.base import Condition
from batchai.api.mounts import MountVolumes
from batchai.plan.mounts import BLOB_VOLUME, FILE_VOLUME, NFS_VOLUME, dropped_options
from batchai.plan.vaults import VAULT_VOLUME
from batchai.status.conditions import with_condition

OPTIONS_ADJUSTED = "MountOptionsAdjusted"

_VOLUME = re.compile(r'volume "(batchai-[0-9a-f-]{36}-)?(?P<kind>[a-z]+)-')
_KINDS = {
    FILE_VOLUME: ("AZFMountError", "Azure file share could not be mounted"),
    BLOB_VOLUME: ("BFSMountError", "Azure blob container could not be mounted"),
    NFS_VOLUME: ("MountError", "NFS export could not be mounted"),
    VAULT_VOLUME: ("KeyVaultError", "The secrets of an Azure Key Vault could not be read"),
}
_OTHER = ("MountError", "A volume could not be mounted")
_SHARE = re.compile(r"//(?P<account>[^./\s\"]+)[^/\s\"]*/(?P<share>[^/\s\"]+)")

_HINTS = {
    FILE_VOLUME: (
        (r"mount error\(2\)", "the {share} does not exist in {account}"),
        (
            r"mount error\(13\)",
            "{account} refused the key: put its current one, not encoded twice, into the Secret",
        ),
        (r"mount error\((11[0-5])\)", "{account} cannot be reached: its port 445 must be open to the nodes"),
        (
            r"could not find azurestorageaccountkey",
            "its Secret must hold azurestorageaccountkey: Azure Files cannot be mounted with a SAS token",
        ),
    ),
    BLOB_VOLUME: (
        (
            r"ContainerNotFound|container \S* ?does not exist|specified container does not exist",
            "the container does not exist in the account",
        ),
        (
            r"Authentication|Authorization|failed to authenticate",
            "the account refused the key or the SAS token: put a current one, not encoded twice, into the Secret",
        ),
        (
            r"could not find azurestorageaccountkey",
            "its Secret must hold azurestorageaccountkey or azurestorageaccountsastoken",
        ),
    ),
    NFS_VOLUME: (
        (
            r"mount\.<type>|/sbin/mount\.|unknown filesystem type|Protocol not supported|No such device",
            "the node cannot mount NFS: it needs its image's nfs-common and a kernel with an NFS client",
        ),
        (r"access denied", "the server does not export that directory to the nodes"),
        (r"No such file or directory", "the server has no such directory"),
        (r"refused|timed out|No route|unreachable|[Rr]esolve", "the server cannot be reached from the node"),
    ),
}
_SECRET_HINTS = (
    (r"failed to get account name", "its Secret must hold azurestorageaccountname"),
    (r"secrets? .*not found", "its Secret does not exist"),
)


def mount_problem(message: str) -> tuple[str, str]:
    """The error's code and its sentence, with a hint if the cause is a known one.

    message: the kubelet's, of its FailedMount event.
    """
    volume = _VOLUME.search(message)
    kind = volume["kind"] if volume else ""
    code, text = _KINDS.get(kind, _OTHER)
    share = _SHARE.search(message)
    share_name, account = (
        (f"share {share['share']}", f"account {share['account']}") if share else ("share", "its account")
    )
    common = _SECRET_HINTS if kind in {FILE_VOLUME, BLOB_VOLUME} else ()
    for pattern, hint in (*_HINTS.get(kind, ()), *common):
        if re.search(pattern, message):
            return code, f"{text}: {hint.format(share=share_name, account=account)}"
    return code, text


def with_adjusted_options(
    conditions: Sequence[Condition] | None, volumes: MountVolumes | None, now: datetime, generation: int
) -> list[Condition]:
    """The conditions, and one that names the mountOptions that were left out, if some were."""
    words = dropped_options(volumes)
    if not words:
        return list(conditions or ())
    return with_condition(
        conditions,
        OPTIONS_ADJUSTED,
        status=True,
        reason="LeftOut",
        message=f"left out of mountOptions, because they mean nothing to blobfuse 2: {', '.join(words)}",
        now=now,
        generation=generation,
    )
