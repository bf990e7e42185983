"""`batchai` as a user types it: a resource group of its own with a workspace, a cluster and an experiment."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from tests.e2e.jobs import IMAGE, Cluster, Storage

# The form of the quickstart's job.json, with a command in the place of CNTK.
JOB = """{
    "$schema": "https://raw.githubusercontent.com/Azure/BatchAI/master/schemas/2018-03-01/custom.json",
    "comment": "placeholders are filled in by the command line",
    "properties": {
        "nodeCount": 1,
        "customToolkitSettings": {"commandLine": %s},
        "containerSettings": {"imageSourceRegistry": {"image": "%s"}},
        "stdOutErrPathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs",
        "outputDirectories": [{"id": "MODEL", "pathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs"}],
        "mountVolumes": {
            "azureFileShares": [{
                "azureFileUrl": "https://<YOUR_STORAGE_ACCOUNT>.file.core.windows.net/%s",
                "relativeMountPath": "logs"
            }],
            "azureBlobFileSystems": [{
                "accountName": "<AZURE_BATCHAI_STORAGE_ACCOUNT>",
                "containerName": "%s",
                "relativeMountPath": "data"
            }]
        }
    }
}"""


@dataclass
class Cli:
    """Runs commands in the resource group `group`, whose share and container have its name."""

    group: str
    folder: Path
    environ: dict[str, str]
    cluster: Cluster

    @property
    def place(self) -> list[str]:
        return ["-g", self.group, "-w", "Work_Space", "-e", "exp"]

    def start(self, words: str, *more: str, **options: Any) -> subprocess.Popen[bytes]:
        """Starts a command; only its first argument comes apart at spaces."""
        # Where tests run in the background Ctrl-C is ignored, and children inherit that.
        command = ["env", "--default-signal=INT", sys.executable, "-m", "batchai.cli", *words.split(), *more]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        return subprocess.Popen(command, env=self.environ, **{**pipes, **options})

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """stdout and stderr of a command that exits with `code`."""
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=180)
        assert process.returncode == code, err.decode()
        return out.decode(), err.decode()

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments)[0])

    def job_file(self, name: str, **properties: Any) -> str:
        """A job.json whose logs and outputs go to the group's share."""
        share = {"azureFileUrl": f"https://<YOUR_STORAGE_ACCOUNT>.file.core.windows.net/{self.group}"}
        base = {
            "nodeCount": 1,
            "containerSettings": {"imageSourceRegistry": {"image": IMAGE}},
            "stdOutErrPathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs",
            "outputDirectories": [{"id": "MODEL", "pathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs"}],
            "mountVolumes": {"azureFileShares": [{**share, "relativeMountPath": "logs"}]},
        }
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps({"properties": {**base, **properties}}))
        return str(path)

    def create(self, name: str, **properties: Any) -> None:
        self.run(f"job create -n {name} -c nc6", *self.place, "-f", self.job_file(name, **properties))

    def submit(self, name: str, command: str, *more: str) -> Any:
        path = self.folder / f"{name}.json"
        path.write_text(JOB % (json.dumps(command), IMAGE, self.group, self.group))
        return self.json("job", "create", "-n", name, "-c", "nc6", *self.place, "-f", str(path), *more)


def environment(storage: Storage, home: Path) -> dict[str, str]:
    """The variables of somebody with this home directory who has the storage account."""
    return {
        **os.environ,
        "HOME": str(home),
        "AZURE_BATCHAI_STORAGE_ACCOUNT": storage.account,
        "AZURE_BATCHAI_STORAGE_KEY": storage.key,
        "AZURE_STORAGE_CONNECTION_STRING": storage.connection,
    }


def person(cli: Cli, name: str, *roles: str) -> Cli:
    """The same group for somebody who has these ClusterRoles in it and no other rights."""
    place = ("-n", cli.group)
    cli.cluster.kubectl("create", "serviceaccount", name, *place)
    who = f"--serviceaccount={cli.group}:{name}"
    for role in roles:
        cli.cluster.kubectl("create", "rolebinding", f"{name}-{role}", *place, f"--clusterrole={role}", who)
    config = yaml.safe_load(cli.cluster.kubectl("config", "view", "--raw", "--minify", "--flatten"))
    config["users"][0]["user"] = {"token": cli.cluster.kubectl("create", "token", name, *place).strip()}
    path = cli.folder / f"{name}.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return replace(cli, environ={**cli.environ, "KUBECONFIG": str(path)})


@contextmanager
def resource_group(cluster: Cluster, storage: Storage, home: Path, nodes: int) -> Iterator[Cli]:
    """A group with a cluster of some nodes, and in storage a share and a container of its name."""
    cli = Cli(f"cli-{uuid.uuid4().hex[:8]}", home, environment(storage, home), cluster)
    with storage.files as shares, storage.blobs as blobs:
        shares.create_share(cli.group)
        blobs.create_container(cli.group)
        cli.run(f"group create -n {cli.group} -l eastus")
        cli.run(f"workspace create -g {cli.group} -n Work_Space")
        cli.run(f"cluster create -n nc6 -g {cli.group} -w Work_Space -s Standard_NC6 -t {nodes}")
        cli.run(f"experiment create -g {cli.group} -w Work_Space -n exp")
        try:
            yield cli
        finally:
            cli.run(f"group delete -n {cli.group} -y")
            shares.delete_share(cli.group)
            blobs.delete_container(cli.group)
