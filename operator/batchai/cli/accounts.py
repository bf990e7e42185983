"""Storage accounts: who gives the key or the SAS token of one, and the Secret that holds it.

They come from the options, the environment or a Secret of the namespace, and go into Secrets
only (design §1).
"""

import base64
import re
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from batchai.api import names
from batchai.api.mounts import default_secret_name
from batchai.cli import kube
from batchai.cli.kube import Object
from batchai.cli.problems import NotFound, Problem, UsageProblem
from batchai.cli.session import Session
from batchai.errors import KubeApiError
from batchai.storage.account import Service, StorageAccount, parse_connection_string

ACCOUNT_VARIABLE = "AZURE_BATCHAI_STORAGE_ACCOUNT"
KEY_VARIABLE = "AZURE_BATCHAI_STORAGE_KEY"
SAS_VARIABLE = "AZURE_BATCHAI_STORAGE_SAS"
CONNECTION_VARIABLE = "AZURE_STORAGE_CONNECTION_STRING"

_NO_CREDENTIAL = {names.SECRET_ACCOUNT_KEY: None, names.SECRET_ACCOUNT_SAS: None}
_ACCOUNT_NAME = re.compile(r"[a-z0-9]{3,24}")
_ENDPOINTS: dict[Service, str] = {
    "file": names.ANNOTATION_FILE_ENDPOINT,
    "blob": names.ANNOTATION_BLOB_ENDPOINT,
}


@dataclass(frozen=True)
class Given:
    """What options and environment say: the account to fill in, and the accounts whose keys are known."""

    name: str | None = None
    accounts: Mapping[str, StorageAccount] = field(default_factory=dict)


def given(environ: Mapping[str, str], name: str | None = None, key: str | None = None, sas: str | None = None) -> Given:
    """The accounts of the options `name`, `key` and `sas` and of the environment; options win (reference §8).

    A credential in the environment belongs to the account in the environment, if that is named too.
    """
    connection = environ.get(CONNECTION_VARIABLE)
    known = parse_connection_string(connection) if connection else None
    environment_name = environ.get(ACCOUNT_VARIABLE)
    chosen = name or environment_name or (known.name if known else None)
    for option, value in (("--storage-account-key", key), ("--storage-account-sas", sas)):
        if value and not chosen:
            raise UsageProblem(f"{option} has no account.", f"Give --storage-account-name or set {ACCOUNT_VARIABLE}.")
    if key and sas:
        raise UsageProblem("--storage-account-key and --storage-account-sas exclude each other.", "Give one of them.")
    accounts = {known.name: known} if known else {}
    for account, its_key, its_sas in (
        (environment_name or chosen, environ.get(KEY_VARIABLE), environ.get(SAS_VARIABLE)),
        (chosen, key, sas),
    ):
        if account and (its_key or its_sas):
            token = None if its_key else (its_sas or "").removeprefix("?")
            present = accounts.get(account) or StorageAccount(account)
            accounts[account] = replace(present, key=its_key, sas_token=token)
    return Given(chosen, accounts)


def of_arguments(args: Namespace, environ: Mapping[str, str]) -> Given:
    """The same of the options of `arguments.storage`."""
    return given(environ, args.storage_account_name, args.storage_account_key, args.storage_account_sas)


def check_name(account: str, field_path: str) -> None:
    """Raises UsageProblem if Azure could not have an account of this name."""
    if not _ACCOUNT_NAME.fullmatch(account):
        raise UsageProblem(
            f"{field_path}: '{account}' is no storage account; names have 3 to 24 small letters and digits.",
            f"Give --storage-account-name or set {ACCOUNT_VARIABLE} to fill in placeholders.",
        )


def provide_all(session: Session, namespace: str, given: Given, keys: Mapping[str, str | None]) -> dict[str, str]:
    """Account → Secret for each account of `keys`; a key that stands there wins over what is given.

    A token does not take the place of a key that is kept: others' jobs may need that.
    """
    secrets: dict[str, str] = {}
    for name, key in keys.items():
        account = given.accounts.get(name) or StorageAccount(name)
        account = replace(account, key=key or account.key)
        kept = _labelled(session, namespace, name) if account.sas_token and not account.key else None
        if kept is not None and names.SECRET_ACCOUNT_KEY in (kept.get("data") or {}):
            secrets[name] = str(kept["metadata"]["name"])
            session.say(
                f"Secret '{secrets[name]}' has the key of storage account '{name}': it is used, and not the token."
            )
        else:
            secrets[name] = provide(session, namespace, account)
    return secrets


def provide(session: Session, namespace: str, account: StorageAccount) -> str:
    """Makes sure that a Secret holds the account's key or token; returns its name.

    One that is given is written to the account's Secret. Without it, a Secret that is labelled for
    the account must exist; Problem otherwise.
    """
    if account.key is None and account.sas_token is None:
        found = _labelled(session, namespace, account.name)
        if found is None:
            raise Problem(
                f"no key for storage account '{account.name}'.",
                f"Give --storage-account-key, set {KEY_VARIABLE} or {CONNECTION_VARIABLE}, or keep it in '{namespace}':"
                f" kubectl batchai storage add -g {namespace} -n {account.name}",
            )
        return str(found["metadata"]["name"])
    body = _secret(namespace, account)
    name = str(body["metadata"]["name"])
    try:
        session.kube.create(kube.SECRETS, namespace, body)
    except KubeApiError as error:
        if not error.already_exists:
            raise
        # A key beside a token would win over it, in the driver as here.
        session.kube.patch(kube.SECRETS, namespace, name, {**body, "data": {**_NO_CREDENTIAL, **body["data"]}})
    return name


def account_of(
    session: Session, namespace: str, name: str, secret_name: str, known: Mapping[str, StorageAccount]
) -> StorageAccount:
    """The account for reading a job's files: as the environment gives it, else from the job's Secret.

    Endpoints of the environment win over those of the Secret: they are what this machine can reach.
    """
    environment = known.get(name)
    if environment and (environment.key or environment.sas_token):
        # The Secret may know endpoints that the environment does not speak of.
        if environment.endpoints:
            return environment
        secret = _readable(session, namespace, secret_name)
        return replace(environment, endpoints=_endpoints(secret)) if secret else environment
    secret = _readable(session, namespace, secret_name)
    if secret is None:
        raise NotFound(
            f"no key for storage account '{name}': Secret '{secret_name}' cannot be read in '{namespace}'.",
            f"Set {ACCOUNT_VARIABLE} and {KEY_VARIABLE}, or make the Secret.",
        )
    data = secret.get("data") or {}
    key, sas = (
        base64.b64decode(data.get(entry, "")).decode() or None
        for entry in (names.SECRET_ACCOUNT_KEY, names.SECRET_ACCOUNT_SAS)
    )
    if key is None and sas is None:
        raise Problem(
            f"Secret '{secret_name}' in '{namespace}' holds neither {names.SECRET_ACCOUNT_KEY}"
            f" nor {names.SECRET_ACCOUNT_SAS}."
        )
    endpoints = environment.endpoints if environment else None
    return StorageAccount(name, key, sas.lstrip("?") if sas else None, endpoints or _endpoints(secret))


def _labelled(session: Session, namespace: str, account: str) -> Object | None:
    found = session.kube.list(kube.SECRETS, namespace, {names.LABEL_STORAGE_ACCOUNT: account})
    # The account's own Secret first; others are in the order of their names.
    found.sort(key=lambda item: (item["metadata"]["name"] != default_secret_name(account), item["metadata"]["name"]))
    return found[0] if found else None


def _readable(session: Session, namespace: str, name: str) -> Object | None:
    try:
        return session.kube.get(kube.SECRETS, namespace, name)
    except KubeApiError as error:
        if error.status in (403, 404):
            return None
        raise


def _endpoints(secret: Object) -> dict[Service, str]:
    annotations = secret["metadata"].get("annotations") or {}
    return {service: annotations[name] for service, name in _ENDPOINTS.items() if name in annotations}


def _secret(namespace: str, account: StorageAccount) -> Object:
    metadata: Object = {
        "name": default_secret_name(account.name),
        "namespace": namespace,
        "labels": {
            names.LABEL_STORAGE_ACCOUNT: account.name,
            names.LABEL_MANAGED_BY: names.MANAGED_BY,
        },
    }
    if account.endpoints:
        metadata["annotations"] = {_ENDPOINTS[service]: url for service, url in account.endpoints.items()}
    credential = (
        {names.SECRET_ACCOUNT_KEY: account.key} if account.key else {names.SECRET_ACCOUNT_SAS: account.sas_token or ""}
    )
    values = {names.SECRET_ACCOUNT_NAME: account.name, **credential}
    data = {name: base64.b64encode(value.encode()).decode() for name, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}
