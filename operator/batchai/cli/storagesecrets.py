"""`batchai storage`: the Secrets with which jobs mount storage accounts, without writing one by hand."""

import getpass
from argparse import ArgumentParser, Namespace
from dataclasses import replace

from batchai.api import names
from batchai.cli import accounts, arguments, kube, lookup, shapes
from batchai.cli.arguments import Group
from batchai.cli.kube import Object
from batchai.cli.output import Row
from batchai.cli.problems import NotFound, UsageProblem
from batchai.cli.session import Session
from batchai.storage.account import StorageAccount


def register(commands: Group) -> None:
    """Adds the commands."""
    group = commands.group("storage", "Storage accounts that jobs of a resource group may mount.")
    parser = group.command("add", "Keep the key or SAS token of a storage account, or change it.", add, _row)
    _account(parser)
    parser.add_argument("--storage-account-key", metavar="KEY", help="or AZURE_BATCHAI_STORAGE_KEY, or it is asked for")
    parser.add_argument(
        "--storage-account-sas", metavar="TOKEN", help="a SAS token in the place of a key, for containers"
    )
    arguments.resource_group(group.command("list", "List the storage accounts that are kept.", list_all, _row))
    _account(group.command("remove", "Forget a storage account; running jobs keep their mounts.", remove, ask=True))


def _account(parser: ArgumentParser) -> None:
    arguments.own_name(parser, "storage account")
    arguments.resource_group(parser)


def add(args: Namespace, session: Session) -> Object:
    """Writes the account's Secret. The key comes from the options, the environment, or the terminal."""
    accounts.check_name(args.name, "--name")
    lookup.check_group(session, args.resource_group)
    known = accounts.given(session.environ, args.name, args.storage_account_key, args.storage_account_sas)
    account = known.accounts.get(args.name) or StorageAccount(args.name)
    if account.key is None and account.sas_token is None:
        try:
            key = getpass.getpass(f"Key of storage account '{args.name}' (it is not shown): ").strip()
        except EOFError:
            key = ""
        if not key:
            raise UsageProblem("there is no key.", "Give --storage-account-key or --storage-account-sas.")
        account = replace(account, key=key)
    secret = accounts.provide(session, args.resource_group, account)
    return _shape(session.kube.get(kube.SECRETS, args.resource_group, secret))


def list_all(args: Namespace, session: Session) -> list[Object]:
    """The accounts whose Secrets are labelled; no value is printed."""
    lookup.check_group(session, args.resource_group)
    found = session.kube.list(kube.SECRETS, args.resource_group)
    kept = [_shape(item) for item in found if shapes.label(item, names.LABEL_STORAGE_ACCOUNT)]
    return sorted(kept, key=lambda item: (item["name"], item["secret"]))


def remove(args: Namespace, session: Session) -> None:
    """Deletes the Secrets that the command line made for the account."""
    labels = {names.LABEL_STORAGE_ACCOUNT: args.name, names.LABEL_MANAGED_BY: names.MANAGED_BY}
    found = session.kube.list(kube.SECRETS, args.resource_group, labels)
    if not found:
        raise NotFound(
            f"storage account '{args.name}' is not kept in '{args.resource_group}'.",
            f"Those that are: kubectl batchai storage list -g {args.resource_group}",
        )
    for item in found:
        session.kube.delete(kube.SECRETS, args.resource_group, item["metadata"]["name"])


def _shape(secret: Object) -> Object:
    return {
        "credential": "key" if names.SECRET_ACCOUNT_KEY in (secret.get("data") or {}) else "sas",
        "name": shapes.label(secret, names.LABEL_STORAGE_ACCOUNT),
        "resourceGroup": secret["metadata"]["namespace"],
        "secret": secret["metadata"]["name"],
    }


def _row(account: Object) -> Row:
    return {
        "Name": account["name"],
        "Resource Group": account["resourceGroup"],
        "Credential": account["credential"],
        "Secret": account["secret"],
    }
