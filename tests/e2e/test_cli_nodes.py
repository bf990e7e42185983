"""Commands that reach into a job's pods or say what happened there, on the real cluster with only a user's rights."""

import hashlib
import json
import os
import pty
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.commands import Cli, person, resource_group
from tests.e2e.jobs import IMAGE, Cluster, Storage, wait_until

pytestmark = pytest.mark.timeout(300)

LINES = 3000
# Two ranks that write lines; the first one serves a page; both end when they are told to.
RANK = f"""
import http.server, os, threading, time
for number in range({LINES}):
    print("line", number, flush=number % 500 == 0)
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"x" * 1_000_000)
    def log_message(self, *_):
        pass
if os.environ["RANK"] == "0":
    server = http.server.HTTPServer(("127.0.0.1", 6006), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
while not os.path.exists(os.environ["AZ_BATCHAI_OUTPUT_MODEL"] + "/stop"):
    time.sleep(0.2)
print("last words")
"""


@pytest.fixture(scope="module")
def admin(cluster: Cluster, storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    with resource_group(cluster, storage, tmp_path_factory.mktemp("home"), nodes=2) as cli:
        yield cli


@pytest.fixture(scope="module")
def cli(admin: Cli, cluster: Cluster) -> Iterator[Cli]:
    """The same group for somebody with the roles of manifests/users.yaml."""
    jane = person(admin, "jane", "batchai-user")
    who = f"--serviceaccount={admin.group}:jane"
    cluster.kubectl("create", "clusterrolebinding", admin.group, "--clusterrole=batchai-observer", who)
    yield jane
    cluster.kubectl("delete", "clusterrolebinding", admin.group)


@pytest.fixture(scope="class")
def pair(cli: Cli, storage: Storage) -> Iterator[str]:
    """A running job of two nodes whose log is streamed meanwhile; at the end the stream is checked."""
    with storage.files.get_share_client(cli.group) as share:
        share.get_file_client("rank.py").upload_file(RANK.encode())
    script = "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs/rank.py"
    toolkit = {"pythonScriptFilePath": script, "communicationBackend": "tcp"}
    cli.create("pair", nodeCount=2, pyTorchSettings=toolkit)
    with cli.start("job stream -n pair", *cli.place) as stream:
        wait_until(lambda: len(cli.json("job node list -j pair", *cli.place)) == 2, "the job runs on two nodes")
        yield "pair"
        cli.run("job node exec -j pair", *cli.place, "--exec", "touch $AZ_BATCHAI_OUTPUT_MODEL/stop")
        out, err = stream.communicate(timeout=120)
    assert stream.returncode == 0, err.decode()
    for rank in (0, 1):
        own = [line for line in out.decode().splitlines() if line.startswith(f"rank {rank} | ")]
        assert own == [f"rank {rank} | line {number}" for number in range(LINES)] + [f"rank {rank} | last words"]
    assert len(out.splitlines()) == 2 * (LINES + 1)
    assert b"Job state: succeeded" in err


class TestAPairOfNodes:
    def test_nodes(self, cli: Cli, pair: str) -> None:
        place = ["-g", cli.group, "-w", "Work_Space"]
        listed = cli.json("cluster node list -c nc6", *place)
        nodes = cli.cluster.get("bjob", pair, cli.group)["status"]["nodes"]
        assert sorted(node["nodeId"] for node in listed) == sorted(nodes)
        assert [node["nodeId"] for node in cli.json(f"job node list -j {pair}", *cli.place)] == nodes
        table = cli.run("cluster node list -c nc6 -o table", *place)[0].splitlines()
        assert table[0].split() == ["ID", "IP", "SSH", "Port"]

    def test_a_command_runs_where_the_job_runs(self, cli: Cli, pair: str) -> None:
        nodes = cli.cluster.get("bjob", pair, cli.group)["status"]["nodes"]
        execute = [f"job node exec -j {pair}", *cli.place, "--exec"]
        out, err = cli.run(*execute, 'echo "$AZ_BATCH_NODE_ID $PWD"; echo wörd >&2')
        assert out == f"{nodes[0]} /mnt/batch/tasks/shared/LS_root/jobs/Work_Space/exp/pair/wd\n"
        assert err == "wörd\n"
        out, _ = cli.run(*execute, "hostname; ssh $(echo $AZ_BATCH_HOST_LIST | cut -d, -f1) hostname", "-n", nodes[1])
        assert out == "pair-1-1\npair-1-0\n"
        assert cli.run(*execute, "exit 9", code=9) == ("", "")
        with cli.start(*execute, "head -c 5000000 /dev/urandom | tee f") as process:
            data, err = process.communicate(timeout=120)
        assert process.returncode == 0, err.decode()
        digest, _ = cli.run(*execute, "sha256sum f")
        assert (len(data), digest.split()[0]) == (5_000_000, hashlib.sha256(data).hexdigest())
        on_cluster = ["cluster node exec -c nc6 -g", cli.group, "-w", "Work_Space", "-n", nodes[1]]
        assert cli.run(*on_cluster, "--exec", "hostname")[0] == "pair-1-1\n"
        _, err = cli.run(*execute, "true", "-n", "nowhere", code=3)
        assert f"It runs on {nodes[0]}, {nodes[1]}." in err

    def test_ports_are_forwarded_until_ctrl_c(self, cli: Cli, pair: str) -> None:
        with cli.start(f"job node exec -j {pair}", *cli.place, "-L", "0:localhost:6006") as process:
            assert process.stderr
            said = process.stderr.readline().decode()
            port = int(said.split("127.0.0.1:")[1].split()[0])
            for _ in range(3):
                assert urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=30).read() == b"x" * 1_000_000
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
            assert process.stderr.read() == b""

    def test_explain_a_running_job(self, cli: Cli, pair: str) -> None:
        text, _ = cli.run(f"job explain -n {pair}", *cli.place)
        nodes = cli.cluster.get("bjob", pair, cli.group)["status"]["nodes"]
        assert text.splitlines()[0] == f"Job 'pair' is running on {nodes[0]}, {nodes[1]}."
        assert "container of pod pair-1-1 started" in text
        assert "What to do" not in text

    def test_what_the_nodes_use(self, cli: Cli, pair: str) -> None:
        """There are no GPUs here: the first node has an nvidia-smi of the test's own."""
        nodes = cli.cluster.get("bjob", pair, cli.group)["status"]["nodes"]
        execute = [f"job node exec -j {pair}", *cli.place, "--exec"]
        gpus = "#!/bin/sh\necho '0, 97, 1024, 16384'\necho '1, [N/A], 0, 16384'\n"
        cli.run(*execute, f"cd /usr/local/bin; cat >nvidia-smi <<'EOF'\n{gpus}EOF\nchmod +x nvidia-smi")
        cli.run(*execute, "timeout 30 sh -c 'while :; do :; done' >/dev/null 2>&1 &")
        out, err = cli.run(f"job top -n {pair}", *cli.place)
        assert err == ""
        first, second = json.loads(out)
        assert [first["nodeId"], second["nodeId"]] == nodes
        assert [first["role"], second["role"]] == ["rank 0", "rank 1"]
        assert first["cpuCores"] > 0.1
        assert second["cpuCores"] >= 0
        for node in (first, second):
            assert 1 << 20 < node["memoryUsedBytes"] < 64 << 30
            assert node["memoryLimitBytes"] is None
        total = 16 << 30
        assert first["gpus"] == [
            {"index": 0, "utilizationPercent": 97, "memoryUsedBytes": 1 << 30, "memoryTotalBytes": total},
            {"index": 1, "utilizationPercent": None, "memoryUsedBytes": 0, "memoryTotalBytes": total},
        ]
        assert second["gpus"] is None
        table = cli.run(f"job top -n {pair} -o table", *cli.place)[0].splitlines()
        assert table[0].split()[:5] == ["Node", "Role", "CPU", "Memory", "Limit"]
        assert [line.split()[0] for line in table[2:]] == [nodes[0], nodes[0], nodes[1]]

    def test_usages(self, cli: Cli, pair: str) -> None:
        usages = {each["name"]["value"]: each for each in cli.json("list-usages")}
        assert usages["Clusters"]["currentValue"] >= 1
        family = usages["Standard NC Family Cluster Dedicated vCPUs"]
        assert 0 < family["currentValue"] <= family["limit"]
        assert cli.run("list-usages -o table")[0].split()[:3] == ["Value", "Usage", "Limit"]


def test_what_a_user_may_not_is_named(cli: Cli) -> None:
    place = ["-g", cli.group, "-w", "Work_Space"]
    who = f"system:serviceaccount:{cli.group}:jane"
    _, err = cli.run("cluster resize -n nc6 -t 1", *place, code=1)
    assert err.splitlines() == [
        f"ERROR: you ({who}) may not patch clusters.batchai.dev in namespace '{cli.group}'.",
        "The roles of manifests/users.yaml have this right: an administrator of the cluster can give you one.",
    ]
    _, err = cli.run("group create -n cli-never", code=1)
    assert f"you ({who}) may not get namespaces in namespace 'cli-never'" in err
    _, err = cli.run("job list -w w -e e -g kube-system", code=1)
    assert f"you ({who}) may not list jobs.batchai.dev in namespace 'kube-system'" in err


def test_the_whole_quickstart_with_a_users_rights(cli: Cli) -> None:
    place = ["-g", cli.group, "-w", "Work_Space"]
    cli.run("experiment create -n own", *place)
    own = [*place, "-e", "own"]
    path = cli.job_file(
        "mine", customToolkitSettings={"commandLine": "echo done"}, secrets=[{"name": "T", "value": "x"}]
    )
    cli.run("job create -n mine -c nc6 -f", path, *own)
    assert cli.run("job file stream -j mine -f stdout.txt", *own)[0] == "done\n"
    cli.run("job wait -n mine --interval 1", *own)
    assert cli.run("job stream -n mine", *own)[0] == "done\n"
    assert cli.json("job file list -j mine", *own, "--query", "[].name") == [
        "execution.log",
        "stderr.txt",
        "stdout.txt",
    ]
    assert "Job 'mine' has succeeded." in cli.run("job explain -n mine", *own)[0]
    _, err = cli.run("job node exec -j mine --exec true", *own, code=1)
    assert "job 'mine' is succeeded: it has no running container" in err
    _, err = cli.run("job top -n mine", *own, code=1)
    assert "job 'mine' is succeeded: it has no running container" in err
    cli.run("job delete -n mine -y", *own)
    cli.run("experiment delete -n own -y", *place)


def test_explain_a_job_that_waits(cli: Cli) -> None:
    cli.create("large", nodeCount=9, customMpiSettings={"commandLine": "true"})
    text, _ = cli.run("job explain -n large", *cli.place)
    assert "needs 9 nodes, but the cluster has at most 2" in text
    assert "batchai cluster resize -n nc6 -t 9" in text
    _, err = cli.run("job top -n large", *cli.place, code=1)
    assert err.splitlines() == [
        "ERROR: job 'large' is queued: it has no running container.",
        "Why: batchai job explain",
    ]
    cli.run("job delete -n large -y", *cli.place)


def test_explain_a_job_that_cannot_start(cli: Cli, admin: Cli) -> None:
    """On a second cluster, which grows and shrinks meanwhile."""
    place = ["-g", cli.group, "-w", "Work_Space"]
    admin.run("cluster create -n spare -s Standard_NC6 -t 0", *place)
    watch = ["cluster show -n spare --watch -o tsv --query currentNodeCount", *place]
    with admin.start(*watch) as watching:
        assert watching.stdout
        assert watching.stdout.readline() == b"0\n"
        assert admin.json("cluster resize -n spare -t 1", *place)["scaleSettings"]["manual"]["targetNodeCount"] == 1
        assert watching.stdout.readline() == b"1\n"
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 130
    share = {"azureFileUrl": "https://<YOUR_STORAGE_ACCOUNT>.file.core.windows.net/no-such-share"}
    path = cli.job_file(
        "lost",
        customToolkitSettings={"commandLine": "true"},
        mountVolumes={"azureFileShares": [{**share, "relativeMountPath": "logs"}]},
    )
    cli.run("job create -n lost -c spare -f", path, *cli.place)
    cli.run("job wait -n lost --interval 1", *cli.place, code=255)
    text, _ = cli.run("job explain -n lost", *cli.place)
    account = cli.environ["AZURE_BATCHAI_STORAGE_ACCOUNT"]
    reason = f"the share no-such-share does not exist in account {account}"
    assert text.startswith(f"Job 'lost' has failed: Azure file share could not be mounted: {reason} (AZFMountError).")
    assert "FailedMount" in text
    assert f"has Secret 'batchai-storage-{account}' the account's key?" in text
    following = admin.json("cluster auto-scale -n spare --min 0 --max 1", *place)
    assert following["scaleSettings"]["autoScale"]["maximumNodeCount"] == 1
    admin.run("cluster delete -y --ids", following["id"])
    _, err = cli.run("cluster node exec -c nc6 -n nowhere --exec true", *place, code=1)
    assert "no job runs on node 'nowhere' of cluster 'nc6'" in err


def test_a_file_server_is_kept(admin: Cli) -> None:
    place = ["-g", admin.group, "-w", "Work_Space"]
    size = "-s Standard_D2_v2 --disk-count 2 --disk-size 10 --storage-sku Standard_LRS"
    made = admin.json(f"file-server create -n nfs {size} -u me", *place)
    assert made["dataDisks"]["diskSizeInGb"] == 10
    assert admin.json("file-server show --ids", made["id"])["id"] == made["id"]
    assert admin.run("file-server list -o table", *place)[0].splitlines()[0].split()[0] == "Name"
    admin.run("file-server delete -n nfs -y", *place)


def test_files_of_a_setup_task_and_of_a_job_on_the_clusters_own_share(admin: Cli, cli: Cli) -> None:
    place = ["-g", admin.group, "-w", "Work_Space"]
    admin.run("cluster resize -n nc6 -t 0", *place)
    task = ["--setup-task", "echo ready", "--setup-task-output", "$AZ_BATCHAI_MOUNT_ROOT/afs"]
    made = admin.json("cluster create -n setup -s Standard_NC6 -t 1 --afs-name", admin.group, *task, *place)
    assert made["nodeSetup"]["setupTask"]["commandLine"] == "echo ready"
    files = ["cluster file list -c setup", *place]
    wait_until(lambda: len(cli.json(*files)) == 3, "the setup task has written its files")
    [log] = cli.json(*files, "--query", "[?starts_with(name, 'stdout-')]")
    assert urllib.request.urlopen(log["downloadUrl"]).read() == b"ready\n"
    table = cli.run(*files, "-o", "table")[0].splitlines()
    assert table[0].split() == ["Name", "Is", "directory", "Size"]
    external = "$AZ_BATCHAI_MOUNT_ROOT/afs"
    path = cli.job_file(
        "external",
        customToolkitSettings={"commandLine": "echo on the share"},
        stdOutErrPathPrefix=external,
        outputDirectories=None,
        mountVolumes=None,
    )
    cli.run("job create -n external -c setup -f", path, *cli.place)
    assert cli.run("job file stream -j external -f stdout.txt", *cli.place)[0] == "on the share\n"
    admin.run("cluster delete -n setup -y", *place)
    admin.run("cluster resize -n nc6 -t 2", *place)


def test_a_submitted_folder_runs(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "words.py").write_text("WORD = 'wörd'\n")
    (tmp_path / "train.py").write_text("import lib.words as words, sys; print(words.WORD, *sys.argv[1:])\n")
    submit = ["job submit", str(tmp_path), "-c", "nc6", *cli.place, "--afs-name", cli.group, "--image", IMAGE]
    for name, said in (("one", "Uploaded 2 files as batchai-code/"), ("two", "is in storage already")):
        _, err = cli.run(*submit, "-n", name, "--command", f"python3 train.py {name} 'a b'")
        assert said in err
        cli.run("job wait --interval 1", *cli.place, "-n", name)
        out, _ = cli.run("job stream", *cli.place, "-n", name)
        assert out == f"wörd {name} a b\n"


def test_a_table_on_a_terminal(cli: Cli) -> None:
    primary, secondary = pty.openpty()
    with cli.start("job list -o table", *cli.place, stdout=secondary) as process:
        os.close(secondary)
        written = b""
        try:
            while piece := os.read(primary, 4096):
                written += piece
        except OSError:  # how Linux says that the other side is closed
            pass
        assert process.wait(60) == 0
    os.close(primary)
    lines = written.decode().splitlines()
    assert lines[0].startswith("Name ")
    assert max(map(len, lines)) <= 80


def test_what_jobs_run_on_takes_the_role_for_administrators(admin: Cli, cli: Cli) -> None:
    """Of a size that nothing here has, so that no node is taken."""
    place = ["-g", cli.group, "-w", "Work_Space"]
    create = ["cluster create -n own -s Standard_NC24 --min 0 --max 2 --use-auto-storage", *place]
    _, err = cli.run(*create, code=1)
    assert "may not create persistentvolumeclaims" in err or "may not create clusters.batchai.dev" in err
    joan = person(admin, "joan", "batchai-user", "batchai-admin")
    joan.run(*create)
    joan.run("cluster resize -n own -t 0", *place)
    joan.run("cluster auto-scale -n own --min 0 --max 1", *place)
    shown = joan.json("cluster show -n own", *place)
    assert shown["scaleSettings"]["autoScale"]["maximumNodeCount"] == 1
    joan.run("cluster delete -y -n own", *place)
    server = "file-server create -n nfs -s Standard_NC6 --disk-count 1 --disk-size 1 --no-wait"
    joan.run(server, *place, "--generate-ssh-keys", "--storage-sku", "Standard_LRS")
    joan.run("file-server delete -y -n nfs", *place)
