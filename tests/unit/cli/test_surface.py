"""Every command and option of `az batchai`, as Batch AI reference §8 has them."""

import argparse
from collections.abc import Iterator

import pytest

from batchai.cli.__main__ import parser
from batchai.cli.arguments import Parser, commands

GLOBAL = "-o/--output=json --query --subscription --debug --verbose"
ADMIN = "-u/--user-name -k/--ssh-key -p/--password --generate-ssh-keys"
NFS = "--nfs --nfs-mount-path=nfs"
SHARES = "--afs-name --afs-mount-path=afs --bfs-name --bfs-mount-path=bfs"
STORAGE = f"--storage-account-name --storage-account-key {SHARES} {NFS}"
EXEC = "-n/--node-id --exec -L/--address* -p/--password -k/--ssh-private-key"
WORKSPACE = "-g/--resource-group! -w/--workspace!"
EXPERIMENT = f"{WORKSPACE} -e/--experiment!"

# "!" marks what is required, "*" what may be repeated, "=" the default.
SURFACE = {
    "workspace create": "-n/--workspace! -g/--resource-group! -l/--location",
    "workspace show": "-n/--workspace! -g/--resource-group! --ids",
    "workspace list": "-g/--resource-group",
    "workspace delete": "-n/--workspace! -g/--resource-group! -y/--yes --no-wait --ids",
    "experiment create": f"-n/--name! {WORKSPACE}",
    "experiment show": f"-n/--name! {WORKSPACE} --ids",
    "experiment list": WORKSPACE,
    "experiment delete": f"-n/--name! {WORKSPACE} -y/--yes --no-wait --ids",
    "cluster create": f"-n/--name! {WORKSPACE} {ADMIN} -s/--vm-size -i/--image --custom-image -t/--target --min --max"
    f" --vm-priority={{dedicated,lowpriority}} {STORAGE} --use-auto-storage --setup-task --setup-task-output --subnet"
    " -f/--config-file",
    "cluster show": f"-n/--name! {WORKSPACE} --ids",
    "cluster list": WORKSPACE,
    "cluster delete": f"-n/--name! {WORKSPACE} -y/--yes --no-wait --ids",
    "cluster resize": f"-n/--name! {WORKSPACE} -t/--target!",
    "cluster auto-scale": f"-n/--name! {WORKSPACE} --min! --max!",
    "cluster node list": f"-c/--cluster! {WORKSPACE}",
    "cluster node exec": f"-c/--cluster! {WORKSPACE} {EXEC}",
    "cluster file list": f"-c/--cluster! {WORKSPACE} -p/--path=. --expiry=60",
    "job create": f"-n/--name! {EXPERIMENT} -c/--cluster -f/--config-file! {STORAGE}",
    "job show": f"-n/--name! {EXPERIMENT} --ids",
    "job list": EXPERIMENT,
    "job delete": f"-n/--name! {EXPERIMENT} -y/--yes --no-wait --ids",
    "job terminate": f"-n/--name! {EXPERIMENT} -y/--yes --no-wait --ids",
    "job wait": f"-n/--name! {EXPERIMENT} --interval=15",
    "job file list": f"-j/--job! {EXPERIMENT} -d/--output-directory-id=stdouterr -p/--path=. --expiry=60",
    "job file stream": f"-j/--job! {EXPERIMENT} -f/--file-name! -d/--output-directory-id=stdouterr -p/--path=.",
    "job node list": f"-j/--job! {EXPERIMENT}",
    "job node exec": f"-j/--job! {EXPERIMENT} {EXEC}",
    "file-server create": f"-n/--name! {WORKSPACE} -s/--vm-size --disk-count --disk-size"
    f" --storage-sku={{Premium_LRS,Standard_LRS}} --caching-type={{none,readonly,readwrite}} {ADMIN} --subnet"
    " -f/--config-file --no-wait",
    "file-server show": f"-n/--name! {WORKSPACE} --ids",
    "file-server list": WORKSPACE,
    "file-server delete": f"-n/--name! {WORKSPACE} -y/--yes --no-wait --ids",
    "list-usages": "-l/--location",
}


def cases() -> Iterator[tuple[str, str]]:
    for name, options in SURFACE.items():
        for option in f"{options} {GLOBAL}".split():
            yield name, option


@pytest.fixture(scope="module")
def made() -> dict[str, Parser]:
    return {" ".join(command.path): command.parser for command in commands(parser())}


@pytest.mark.parametrize(("name", "option"), list(cases()))
def test_az_batchai(made: dict[str, Parser], name: str, option: str) -> None:
    flags, _, default = option.rstrip("!*").partition("=")
    action = found(made[name], flags.split("/"))
    assert action.required == option.endswith("!")
    assert isinstance(action, argparse._AppendAction) == option.endswith("*")
    if default.startswith("{"):
        assert action.choices is not None
        assert sorted(action.choices) == sorted(default.strip("{}").split(","))
    elif default:
        assert str(action.default) == default


def found(command: Parser, flags: list[str]) -> argparse.Action:
    """The one option that has all the flags."""
    (action,) = {action for action in command._actions if set(flags) <= set(action.option_strings)}
    return action


def test_formats(made: dict[str, Parser]) -> None:
    choices = found(made["job list"], ["--output"]).choices
    assert choices is not None
    assert {"json", "jsonc", "table", "tsv"} <= set(choices)


def test_what_other_commands_there_are(made: dict[str, Parser]) -> None:
    """Those of `az group` that the quickstart needs, and what Batch AI never had."""
    assert sorted(made.keys() - SURFACE) == [
        "completion",
        "group create",
        "group delete",
        "group list",
        "group show",
        "init",
        "job explain",
        "job file download",
        "job stream",
        "job submit",
        "job top",
        "storage add",
        "storage list",
        "storage remove",
    ]
