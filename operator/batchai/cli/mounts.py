"""mountVolumes of config files and options: accounts filled in, keys taken out. Pure."""

from collections.abc import Mapping
from typing import Any

from batchai.cli import accounts
from batchai.cli.accounts import Given
from batchai.cli.configfile import KEY_PLACEHOLDER, Properties, fill_placeholders
from batchai.cli.problems import UsageProblem
from batchai.errors import SpecError
from batchai.plan.directories import file_account
from batchai.storage.account import public_host

_REFERENCES = {"secretRef", "accountKeySecretReference", "workloadIdentity"}
SHARES, CONTAINERS, SERVERS = "azureFileShares", "azureBlobFileSystems", "fileServers"
CLAIMS = "persistentVolumeClaims"


def combine(volumes: Properties, options: Mapping[str, Any], given: Given, place: str) -> Properties:
    """The mounts of a file, completed, and those of the options behind them (Batch AI reference §8).

    `options`: the parsed arguments of `arguments.storage`; `place`: the path of `volumes` in the file.
    Raises UsageProblem where an account is missing or a placeholder has no value.
    """
    added: dict[str, Any] = {}
    if options["afs_name"]:
        account = _chosen(given, "--afs-name")
        url = f"https://{public_host(account, 'file')}/{options['afs_name']}"
        added[SHARES] = {"azureFileUrl": url, "relativeMountPath": options["afs_mount_path"]}
    if options["bfs_name"]:
        account = _chosen(given, "--bfs-name")
        added[CONTAINERS] = {
            "accountName": account,
            "containerName": options["bfs_name"],
            "relativeMountPath": options["bfs_mount_path"],
        }
    if options["nfs"]:
        # Another workspace may have one of the same name.
        own = f"workspaces/{options['workspace']}/fileServers/{options['nfs']}"
        added[SERVERS] = {
            "fileServer": {"id": options["nfs"] if "/" in options["nfs"] else own},
            "relativeMountPath": options["nfs_mount_path"],
            "mountOptions": "rw",
        }
    known = given.accounts.get(given.name or "")
    filled: Properties = fill_placeholders(volumes, given.name, known.key if known else None)
    for collection, mount in added.items():
        filled = {**filled, collection: [*filled.get(collection, []), mount]}
    return {
        collection: _with_accounts(collection, mounts, given, f"{place}.{collection}")
        if collection in (SHARES, CONTAINERS) and isinstance(mounts, list)
        else mounts
        for collection, mounts in filled.items()
    }


def inline_keys(volumes: Properties) -> dict[str, str | None]:
    """The accounts whose mounts need a Secret, with the key that stands in the file, if one does."""
    keys: dict[str, str | None] = {}
    for mount in _storage_mounts(volumes):
        credentials = mount.get("credentials", {})
        if not _REFERENCES & credentials.keys():
            account, key = mount["accountName"], credentials.get("accountKey")
            keys[account] = keys.get(account) or (None if key == KEY_PLACEHOLDER else key)
    return keys


def with_secrets(volumes: Properties, secrets: Mapping[str, str]) -> Properties:
    """The mounts with references to Secrets (account → name) in the place of keys."""

    def refer(mount: Any) -> Any:
        if not isinstance(mount, dict) or mount.get("accountName") not in secrets:
            return mount
        if _REFERENCES & mount.get("credentials", {}).keys():
            return mount
        return {**mount, "credentials": {"secretRef": {"name": secrets[mount["accountName"]]}}}

    return {
        collection: [refer(mount) for mount in mounts] if collection in (SHARES, CONTAINERS) else mounts
        for collection, mounts in volumes.items()
    }


def _with_accounts(collection: str, mounts: list[Any], given: Given, place: str) -> list[Any]:
    return [
        _with_account(collection, mount, given, f"{place}[{index}]") if isinstance(mount, dict) else mount
        for index, mount in enumerate(mounts)
    ]


def _with_account(collection: str, mount: Properties, given: Given, place: str) -> Properties:
    account = mount.get("accountName")
    if collection == SHARES and isinstance(mount.get("azureFileUrl"), str):
        try:
            account = file_account(account, mount["azureFileUrl"])
        except SpecError as error:
            raise UsageProblem(f"{place}.{error}.") from error
    if not isinstance(account, str):
        raise UsageProblem(f"{place}.accountName: is missing.", "Name the storage account there.")
    accounts.check_name(account, f"{place}.accountName")
    known = given.accounts.get(account)
    credentials = mount.get("credentials") or {}
    without_key = not _REFERENCES & credentials.keys() and credentials.get("accountKey") in (None, KEY_PLACEHOLDER)
    if collection == SHARES and without_key and known and known.sas_token and not known.key:
        raise UsageProblem(
            f"{place}: storage account '{account}' has a SAS token only, but SMB, which mounts shares, needs a key.",
            "Give the key, or put the files into a container: azureBlobFileSystems.",
        )
    return {**mount, "accountName": account}


def _storage_mounts(volumes: Properties) -> list[Properties]:
    return [
        mount for collection in (SHARES, CONTAINERS) for mount in volumes.get(collection, []) if isinstance(mount, dict)
    ]


def _chosen(given: Given, option: str) -> str:
    if given.name is None:
        raise UsageProblem(
            f"{option} has no account.", f"Give --storage-account-name or set {accounts.ACCOUNT_VARIABLE}."
        )
    return given.name
