"""Every command of the documents is run, page by page, on the real cluster.

Names of groups, accounts and images are those of the test, and job.json trains nothing. What kubectl would change
is a dry run.
"""

import json
import shlex
import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.documents import ROOT, command_lines, kubectl_lines
from tests.e2e.commands import JOB, Cli, resource_group
from tests.e2e.jobs import IMAGE, OPERATOR, Cluster, Storage, wait_until

GROUPS = ("demo", "batchai-quickstart")
PAGE = "-page"
RUNNING = 1
CLAIMS = ("batchaishare", "batchaicontainer")
CHANGES = ("annotate", "apply", "create", "delete", "label", "patch", "taint")
AGENT = ROOT / "manifests" / "agent"
DISKS = {"diskCount": 1, "diskSizeInGB": 1, "storageAccountType": "Standard_LRS"}
UNTIL_STOPPED = (
    "echo hi >&2; touch $AZ_BATCHAI_OUTPUT_MODEL/ConvNet_MNIST_0.dnn; "
    "while [ ! -e $AZ_BATCHAI_OUTPUT_MODEL/stop ]; do sleep 0.2; done"
)

pytestmark = pytest.mark.timeout(300)


def pages() -> dict[str, list[str]]:
    """Page → its commands, each once."""
    found: dict[str, list[str]] = {}
    for page, line in command_lines():
        command = shlex.join(shlex.split(line, comments=True))
        if command not in found.setdefault(page, []):
            found[page].append(command)
    return found


@pytest.fixture(scope="module")
def outer(cluster: Cluster, storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """The owner of the share; its cluster has no node."""
    with resource_group(cluster, storage, tmp_path_factory.mktemp("home"), nodes=0) as cli:
        (cli.folder / "mnist").mkdir()
        (cli.folder / "mnist" / "train.py").write_text("print('trained')\n")
        for path, command in (("job.json", UNTIL_STOPPED), ("mnist/job.json", "true")):
            (cli.folder / path).write_text(JOB % (json.dumps(command), IMAGE, cli.group, cli.group))
        yield cli


@pytest.fixture
def cli(outer: Cli) -> Iterator[Cli]:
    """The group of a page, with volumes for the claims of auto storage."""
    group = f"{outer.group}{PAGE}"
    for claim in CLAIMS:
        volume = {
            "accessModes": ["ReadWriteMany"],
            "capacity": {"storage": "100Gi"},
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": group, "name": claim},
            "hostPath": {"path": f"/var/lib/azure-files/{outer.group}", "type": "Directory"},
        }
        metadata = {"name": f"{group}-{claim}"}
        outer.cluster.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": volume})
    yield replace(outer, group=group)
    if group in outer.json("group list --query", "[].name"):
        outer.run(f"group delete -n {group} -y")
    outer.cluster.kubectl("delete", "pv", *(f"{group}-{claim}" for claim in CLAIMS))


@pytest.mark.parametrize("page", pages())
def test_the_commands_of_a_page(cli: Cli, page: str) -> None:
    """Those that need a running job before those that wait for its end; the group is deleted last."""
    job = ["-g", cli.group, "-w", "quickstart", "-e", "quickstart", "-j", "cntk_python_1"]
    commands = [words_for(cli, line) for line in pages()[page]]
    for now in range(4):
        if now == RUNNING:
            wait_until(lambda: cli.json("job node list", *job), f"the job of {page} runs")
        for words in commands:
            if stage(words) == now:
                run(cli, words)
        if now == RUNNING:
            cli.run("job node exec", *job, "--exec", "touch $AZ_BATCHAI_OUTPUT_MODEL/stop")


@pytest.fixture(scope="module")
def kubectl_words(outer: Cli) -> Iterator[dict[str, str]]:
    """What stands for the names in kubectl's commands; what they are about is there."""
    cluster = outer.cluster
    metadata = {"name": "nfs", "namespace": outer.group}
    spec = {"workspace": "work-space", "vmSize": "STANDARD_D2", "dataDisks": DISKS}
    cluster.apply({"apiVersion": "batchai.dev/v1alpha1", "kind": "FileServer", "metadata": metadata, "spec": spec})
    cluster.kubectl("apply", "-k", str(AGENT))
    (pod,) = cluster.list("pods", OPERATOR, "app.kubernetes.io/name=batchai-operator")
    try:
        yield dict.fromkeys(GROUPS, outer.group) | {
            "<namespace>": OPERATOR,
            "<pod>": pod["metadata"]["name"],
            "<node>": pod["spec"]["nodeName"],
            "manifests/": str(ROOT / "manifests"),
            "manifests/agent": str(AGENT),
        }
    finally:
        cluster.kubectl("delete", "-k", str(AGENT), "--wait")


@pytest.mark.parametrize("line", dict.fromkeys(line for _, line in kubectl_lines()))
def test_the_commands_for_kubectl(cluster: Cluster, kubectl_words: dict[str, str], line: str) -> None:
    words = [kubectl_words.get(word, word) for word in shlex.split(line, comments=True)]
    cluster.kubectl(*words, *(["--dry-run=server"] if words[0] in CHANGES else []))


def share_of(cli: Cli) -> str:
    return cli.group.removesuffix(PAGE)


def words_for(cli: Cli, line: str) -> list[str]:
    """The words of a command with what is the test's own."""
    own = dict.fromkeys(GROUPS, cli.group) | {
        "<account>": cli.environ["AZURE_BATCHAI_STORAGE_ACCOUNT"],
        "<key>": cli.environ["AZURE_BATCHAI_STORAGE_KEY"],
        "pytorch/pytorch": IMAGE,
        "nvidia-smi": "hostname",
        "scripts": share_of(cli),
        "6006:localhost:6006": "0:localhost:6006",
    }
    return [own.get(word, word) for word in shlex.split(line)]


def stage(words: list[str]) -> int:
    """0: before the job runs, RUNNING, 2: until its end or after it, 3: last."""
    if words[:2] == ["group", "delete"]:
        return 3
    if words[0] == "job" and words[1] != "create":
        return RUNNING if words[1] in ("node", "explain", "top") else 2
    return 0


def run(cli: Cli, words: list[str]) -> None:
    """Runs a command in the folder with job.json. One that forwards a port is ended by Ctrl-C."""
    with cli.start("", *words, cwd=cli.folder) as process:
        if "-L" in words and "--exec" not in words:
            assert process.stderr
            assert b"6006" in process.stderr.readline()
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=180)
    expected = 130 if "-L" in words else 0
    assert process.returncode == expected, f"{words}: {err.decode()}"
