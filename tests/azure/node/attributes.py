"""What Azure's CSI drivers make of an inline volume's attributes: a mount to do, or their refusal. Pure.

The messages are those that users of the real drivers see; tests rely on them, so a change upstream belongs here.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

FILE_DRIVER = "file.csi.azure.com"
BLOB_DRIVER = "blob.csi.azure.com"

_KUBERNETES = "csi.storage.k8s.io/"
_AUDIENCE = "api://AzureADTokenExchange"
_FILE = frozenset(
    [
        "sharename",
        "foldername",
        "createfolderifnotexist",
        "storageaccount",
        "server",
        "storageendpointsuffix",
        "protocol",
        "secretname",
        "secretnamespace",
        "mountoptions",
        "resourcegroup",
        "subscriptionid",
        "getlatestaccountkey",
        "clientid",
        "tenantid",
        "mountwithworkloadidentitytoken",
    ]
)
_BLOB = frozenset(
    [
        "containername",
        "storageaccount",
        "storageaccountname",
        "protocol",
        "server",
        "storageendpointsuffix",
        "resourcegroup",
        "subscriptionid",
        "getlatestaccountkey",
        "secretname",
        "secretnamespace",
        "mountoptions",
        "ishnsenabled",
        "azurestorageauthtype",
        "azurestorageidentityclientid",
        "azurestorageidentityresourceid",
        "msiendpoint",
        "azurestoragespnclientid",
        "azurestoragespntenantid",
        "azurestorageaadendpoint",
        "clientid",
        "tenantid",
        "mountwithworkloadidentitytoken",
        "keyvaulturl",
        "keyvaultsecretname",
        "keyvaultsecretversion",
    ]
)
_BLOB_FLAGS = frozenset(
    [
        "--allow-other",
        "--attr-cache-max-size-mb",
        "--attr-cache-timeout",
        "--attr-timeout",
        "--background-download",
        "--basic-remount-check",
        "--block-cache",
        "--block-cache-block-size",
        "--block-cache-disk-size",
        "--block-cache-disk-timeout",
        "--block-cache-parallelism",
        "--block-cache-pool-size",
        "--block-cache-prefetch",
        "--block-cache-prefetch-on-open",
        "--block-cache-strong-consistency",
        "--block-size-mb",
        "--cache-on-list",
        "--cache-poll-timeout-msec",
        "--cache-size-mb",
        "--cap-iops",
        "--cap-mbps-read",
        "--cleanup-on-start",
        "--cpk-enabled",
        "--disable-compression",
        "--disable-kernel-cache",
        "--disable-version-check",
        "--disable-writeback-cache",
        "--cancel-list-on-mount-seconds",
        "--empty-dir-check",
        "--entry-timeout",
        "--file-cache-policy",
        "--file-cache-timeout",
        "--file-cache-timeout-in-seconds",
        "--filter",
        "--foreground",
        "--hard-limit",
        "--high-disk-threshold",
        "--honour-acl",
        "--ignore-open-flags",
        "--ignore-sync",
        "--invalidate-on-sync",
        "--kernel-list-cache-timeout",
        "--lazy-write",
        "--list-cache-timeout",
        "--log-goroutine-id",
        "--log-level",
        "--log-type",
        "--low-disk-threshold",
        "--max-blocks-per-file",
        "--max-concurrency",
        "--max-eviction",
        "--max-retry",
        "--max-retry-interval-in-seconds",
        "--negative-timeout",
        "--no-symlinks",
        "--pool-size",
        "--pre-mount-validate",
        "--preserve-acl",
        "--read-only",
        "--required-free-space-mb",
        "--retry-delay-factor",
        "--set-content-type",
        "--stream-cache-mb",
        "--streaming",
        "--subdirectory",
        "--sync-to-flush",
        "--telemetry",
        "--upload-modified-only",
        "--use-adls",
        "--use-attr-cache",
        "--virtual-directory",
        "--wait-for-mount",
        "--workers",
    ]
)
# blobfuse 2 itself stops at any other -o option.
_FUSE_OPTIONS = re.compile(
    r"(allow_other|allow_root|attr_timeout=\d+|entry_timeout=\d+|negative_timeout=\d+|ro|nonempty|umask=\d+|uid=\d+"
    r"|gid=\d+|direct_io|default_permissions|rw|dev|nodev|suid|nosuid|delay_connect|auto|noauto|user|nouser|exec"
    r"|noexec)"
)
_CONTAINER = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


class Rejected(Exception):  # noqa: N818 - an answer
    """A gRPC error: code is its name (INVALID_ARGUMENT, INTERNAL, …)."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)


@dataclass(frozen=True)
class Wanted:
    """A mount that the attributes ask for. name: the share or container; namespace: the pod's, for the Secret.

    secret: empty for a mount with an identity, whose account is named here and not in a Secret; server: where the
    account is, if not at its usual place.
    """

    driver: str
    name: str
    secret: str
    namespace: str
    read_only: bool
    folder: str = ""
    modes: tuple[int, int] = (0o777, 0o777)
    """What every file and every directory of a share is shown with."""
    account: str = ""
    server: str = ""


@dataclass(frozen=True)
class Credentials:
    """What the Secret holds."""

    account: str
    key: str | None
    sas: str | None


def wanted(driver: str, context: Mapping[str, str]) -> Wanted:
    """The mount behind a volume's context. Raises Rejected as the drivers do."""
    if context.get(f"{_KUBERNETES}ephemeral") != "true":
        raise Rejected("INVALID_ARGUMENT", "this stand-in mounts inline volumes only")
    attributes: dict[str, str] = {}
    for name, value in context.items():
        if name.startswith(_KUBERNETES):
            continue
        if name.lower() in attributes:
            raise Rejected("INVALID_ARGUMENT", f"duplicate parameter {name} in volume context")
        if name.lower() not in (_FILE if driver == FILE_DRIVER else _BLOB):
            raise Rejected("INVALID_ARGUMENT", f"invalid parameter {name} in volume context")
        attributes[name.lower()] = value
    namespace = context.get(f"{_KUBERNETES}pod.namespace", "")
    by_identity = attributes.get("mountwithworkloadidentitytoken", "") == "true" and "clientid" in attributes
    if by_identity:
        if not attributes.get("storageaccount"):
            raise Rejected("INTERNAL", "failed to get account name from volume context")
        if _AUDIENCE not in json.loads(context.get(f"{_KUBERNETES}serviceAccount.tokens", "{}")):
            raise Rejected("INTERNAL", f"service account token for audience {_AUDIENCE} not found")
    elif not attributes.get("secretname"):
        raise Rejected("INVALID_ARGUMENT", "secretName must be specified in inline volume")
    parts = (driver, attributes, namespace)
    found = _file(*parts) if driver == FILE_DRIVER else _blob(*parts)
    # Without an identity the drivers clear the account of an inline volume.
    account = attributes["storageaccount"] if by_identity else ""
    secret = "" if by_identity else attributes["secretname"]
    return replace(found, account=account, secret=secret, server=attributes.get("server", ""))


def _file(driver: str, attributes: Mapping[str, str], namespace: str) -> Wanted:
    share = attributes.get("sharename", "")
    if not share or "/" in share or "\\" in share:
        raise Rejected("INVALID_ARGUMENT", f"invalid shareName: {share!r}")
    if attributes.get("protocol", "smb").lower() != "smb":
        raise Rejected("INVALID_ARGUMENT", "protocol nfs is not supported in inline volume")
    options = [option.strip() for option in attributes.get("mountoptions", "").split(",") if option.strip()]
    for option in options:
        if option in {"bind", "rbind"}:
            raise Rejected("INVALID_ARGUMENT", f"mountOptions {option} is not allowed in inline volume")
    values = dict(option.split("=", 1) for option in options if "=" in option)
    modes = int(values.get("file_mode", "0777"), 8), int(values.get("dir_mode", "0777"), 8)
    folder = attributes.get("foldername", "")
    return Wanted(driver, share, "", namespace, "ro" in options, folder, modes)


def _blob(driver: str, attributes: Mapping[str, str], namespace: str) -> Wanted:
    container = attributes.get("containername", "")
    if not _CONTAINER.fullmatch(container):
        raise Rejected("INVALID_ARGUMENT", f"invalid containerName: {container!r}")
    if attributes.get("protocol", "fuse").lower() not in {"fuse", "fuse2"}:
        raise Rejected("INVALID_ARGUMENT", "NFS protocol is not supported in inline volume")
    read_only = False
    for option in filter(None, (part.strip() for part in attributes.get("mountoptions", "").split(","))):
        if option.startswith("-o"):
            value = option[2:].strip()
            if not _FUSE_OPTIONS.fullmatch(value):
                raise Rejected("INTERNAL", f"Mount failed with error: Invalid FUSE options: {value}")
            read_only = read_only or value == "ro"
        elif option.partition("=")[0] not in _BLOB_FLAGS:
            raise Rejected("INVALID_ARGUMENT", f"mountOptions {option} is not allowed in inline volume")
        else:
            read_only = read_only or option.partition("=")[0] == "--read-only"
    return Wanted(driver, container, "", namespace, read_only)


def credentials(data: Mapping[str, str], wanted_mount: Wanted) -> Credentials:
    """The Secret's content as the driver reads it; decoded values. Raises Rejected if it is not enough."""
    account = data.get("azurestorageaccountname", "").strip()
    key = data.get("azurestorageaccountkey", "").strip() or None
    sas = data.get("azurestorageaccountsastoken", "").strip() or None
    where = f"secret({wanted_mount.secret}) in namespace({wanted_mount.namespace})"
    if not account:
        raise Rejected("INTERNAL", f"failed to get account name from {where}")
    if not key and (wanted_mount.driver == FILE_DRIVER or not sas):
        raise Rejected("INTERNAL", f"could not find azurestorageaccountkey field in {where}")
    return Credentials(account, key, sas)
