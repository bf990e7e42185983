"""Does the mounts: shares are folders of the Files server, containers come through rclone."""

import os
import socket
import struct
import subprocess
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.storage.blob import ContainerClient, ContainerSasPermissions, generate_container_sas

from node.attributes import FILE_DRIVER, Credentials, Rejected, Wanted

_SHARES = Path("/var/lib/azure-files")
_MOUNT_SECONDS = 20.0
_ERROR_2 = "mount error(2): No such file or directory"
_ERROR_13 = "mount error(13): Permission denied"


class Mounter:
    """Mounts on this node, with one known storage account."""

    def __init__(self, account: Credentials, blob_endpoint: str) -> None:
        self._account = account
        self._blob_endpoint = blob_endpoint
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def trusted(self, account: str) -> Credentials:
        """What an identity is given that Azure trusts. Raises Rejected for an account that is not the known one."""
        if account != self._account.account:
            raise Rejected("INTERNAL", f"the identity has no role on storage account {account}")
        return self._account

    def mount(self, wanted: Wanted, given: Credentials, target: Path) -> None:
        """Mounts at the target. Raises Rejected with the drivers' words."""
        if is_mounted(target):
            return
        target.mkdir(parents=True, exist_ok=True)
        if wanted.driver == FILE_DRIVER:
            self._mount_share(wanted, given, target)
        else:
            self._mount_container(wanted, given, target)

    def unmount(self, target: Path) -> None:
        """Unmounts what is there and removes the folder; nothing there is fine."""
        while is_mounted(target):
            subprocess.run(["umount", "-l", target], check=True)
        process = self._processes.pop(str(target), None)
        if process is not None:
            process.terminate()
            process.wait(timeout=30)
        if target.exists():
            target.rmdir()

    def _mount_share(self, wanted: Wanted, given: Credentials, target: Path) -> None:
        server = f"//{given.account}.file.core.windows.net/{wanted.name}"
        if given.account != self._account.account or given.key != self._account.key:
            raise _failed_file(server, target, _ERROR_13)
        source = _SHARES / wanted.name / wanted.folder
        if not source.is_dir():
            raise _failed_file(server, target, _ERROR_2)
        _show_with(source, wanted.modes[1])
        if wanted.read_only:
            _bind_read_only(source, target)
        else:
            subprocess.run(["mount", "--bind", source, target], check=True)

    def _mount_container(self, wanted: Wanted, given: Credentials, target: Path) -> None:
        endpoint = f"{_by_address(wanted.server or self._blob_endpoint)}/{given.account}/{wanted.name}"
        # As blobfuse: where both are given, the key counts.
        token = given.sas or "" if given.key is None else _container_sas(given, wanted.name)
        _check_container(f"{endpoint}?{token.lstrip('?')}", wanted.name)
        # Through the environment: arguments are visible to everybody on the node.
        environment = os.environ | {
            "RCLONE_CONFIG_AZ_TYPE": "azureblob",
            "RCLONE_CONFIG_AZ_SAS_URL": f"{endpoint}?{token.lstrip('?')}",
        }
        command = ["rclone", "mount", f"az:{wanted.name}", str(target), "--allow-other", "--vfs-cache-mode", "writes"]
        command += ["--vfs-write-back", "1s", "--dir-cache-time", "5s", "--umask", "000"]
        if wanted.read_only:
            command.append("--read-only")
        process = subprocess.Popen(command, env=environment)
        deadline = time.monotonic() + _MOUNT_SECONDS
        while not is_mounted(target):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise _failed_blob("the mount process ended")
            time.sleep(0.1)
        self._processes[str(target)] = process


def _container_sas(given: Credentials, container: str) -> str:
    token: str = generate_container_sas(
        given.account,
        container,
        account_key=given.key,
        permission=ContainerSasPermissions.from_string("racwdl"),
        expiry=datetime.now(UTC) + timedelta(days=8),
    )
    return token


def _show_with(share: Path, mode: int) -> None:
    """SMB shows everything with the mount's modes; here new directories and files get them by inheritance."""
    share.chmod(mode)
    entries = ((0x01, mode >> 6), (0x04, mode >> 3), (0x20, mode))
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, bits & 7, 0xFFFFFFFF) for tag, bits in entries)
    os.setxattr(share, "system.posix_acl_default", acl)


def _bind_read_only(source: Path, target: Path) -> None:
    """By way of a mount that is read-only already: a later remount would not reach the node's copy of the mount."""
    with tempfile.TemporaryDirectory() as between:
        subprocess.run(["mount", "--bind", source, between], check=True)
        try:
            subprocess.run(["mount", "-o", "remount,bind,ro", between], check=True)
            subprocess.run(["mount", "--bind", between, target], check=True)
        finally:
            subprocess.run(["umount", between], check=True)


def _by_address(endpoint: str) -> str:
    """With an address for the host: only then does rclone take the path's first part for the account."""
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{socket.gethostbyname(parts.hostname or '')}:{parts.port}"


def _check_container(url: str, name: str) -> None:
    try:
        client = ContainerClient.from_container_url(url, retry_total=1)
        next(iter(client.list_blobs(results_per_page=1).by_page()), None)
    except ClientAuthenticationError as error:
        raise _failed_blob("failed to authenticate credentials for azstorage: AuthenticationFailed") from error
    except HttpResponseError as error:
        if error.status_code == 404:
            raise _failed_blob(f"the container {name} does not exist: ContainerNotFound") from error
        raise _failed_blob(f"failed to authenticate credentials for azstorage: {error.error_code}") from error
    except AzureError as error:
        raise _failed_blob("the storage service cannot be reached") from error


def _failed_file(server: str, target: Path, error: str) -> Rejected:
    text = f'volume({target}) mount "{server}" on "{target}" failed with mount failed: exit status 32\nOutput: {error}'
    return Rejected("INTERNAL", text)


def _failed_blob(error: str) -> Rejected:
    return Rejected(
        "INTERNAL", f"Mount failed with error: rpc error: code = Unknown desc = exit status 1 Error: {error}"
    )


def is_mounted(target: Path) -> bool:
    """A mount point, also one whose FUSE process died."""
    with Path("/proc/self/mounts").open(encoding="utf-8") as mounts:
        return any(line.split(" ")[1] == str(target) for line in mounts)
