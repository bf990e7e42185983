"""Jobs and clusters through the commands, against an API in memory."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.fakes import SUBSCRIPTION, Terminal

from batchai.cli.kube import CLUSTERS, JOBS, SECRETS, Resource
from batchai.cli.problems import NotFound, Problem, UsageProblem
from batchai.errors import KubeApiError

QUICKSTART = Path(__file__).parent / "data" / "quickstart-job.json"
GROUP_ID = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/ns"
ID = f"{GROUP_ID}/providers/Microsoft.BatchAI/workspaces/quickstart"
PLACE = "-g ns -w quickstart -e quickstart"
CREATE = f"job create -n cntk_python_1 -c nc6 {PLACE} -f {QUICKSTART} --storage-account-name acc"
KEY = {"AZURE_BATCHAI_STORAGE_KEY": "a2V5"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOGNAME", "myuser")
    return tmp_path


@pytest.fixture
def terminal() -> Terminal:
    terminal = Terminal(environ=dict(KEY))
    terminal.run("workspace create -g ns -n quickstart")
    terminal.run("cluster create -n nc6 -g ns -w quickstart -s Standard_NC6 -i UbuntuDSVM -t 1")
    terminal.run("experiment create -g ns -w quickstart -n quickstart")
    return terminal


def command_of(path: Path, **properties: Any) -> str:
    """The command that creates the quickstart's job with other properties, from a file at `path`."""
    content = json.loads(QUICKSTART.read_text())
    content["properties"] |= properties
    path.write_text(json.dumps(content))
    return CREATE.replace(str(QUICKSTART), str(path))


def have_one_outage(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next GET is answered with 503."""
    find, fails = terminal.kube.get, iter([KubeApiError(503, "", "m"), None])

    def get(*arguments: Any) -> Any:
        if failure := next(fails, None):
            raise failure
        return find(*arguments)

    monkeypatch.setattr(terminal.kube, "get", get)


def with_secret(tmp_path: Path, value: str = "hush") -> str:
    """The command for a job with a Secret of its own."""
    return command_of(tmp_path / "secret.json", secrets=[{"name": "TOKEN", "value": value}])


def set_status(terminal: Terminal, name: str = "cntk-python-1", **status: Any) -> None:
    terminal.kube.one(JOBS, name).setdefault("status", {}).update(status)


def test_cluster_as_the_quickstart_prints_it(terminal: Terminal) -> None:
    terminal.kube.one(CLUSTERS, "nc6")["status"] = {
        "allocationState": "steady",
        "allocationStateTransitionTime": "2018-04-11T21:17:26.345Z",
        "provisioningState": "succeeded",
        "provisioningStateTransitionTime": "2018-04-11T20:12:11.445Z",
        "currentNodeCount": 0,
        "nodeStateCounts": {},
        "errors": [],
    }
    assert terminal.run("cluster show -n nc6 -g ns -w quickstart") == {
        "allocationState": "steady",
        "allocationStateTransitionTime": "2018-04-11T21:17:26.345000+00:00",
        "creationTime": "2026-01-02T03:04:05+00:00",
        "currentNodeCount": 0,
        "errors": None,
        "id": f"{ID}/clusters/nc6",
        "name": "nc6",
        "nodeSetup": None,
        "nodeStateCounts": {
            "idleNodeCount": 0,
            "leavingNodeCount": 0,
            "preparingNodeCount": 0,
            "runningNodeCount": 0,
            "unusableNodeCount": 0,
        },
        "provisioningState": "succeeded",
        "provisioningStateTransitionTime": "2018-04-11T20:12:11.445000+00:00",
        "resourceGroup": "ns",
        "scaleSettings": {
            "autoScale": None,
            "manual": {"nodeDeallocationOption": "requeue", "targetNodeCount": 1},
        },
        "subnet": None,
        "type": "Microsoft.BatchAI/workspaces/clusters",
        "userAccountSettings": {
            "adminUserName": "myuser",
            "adminUserPassword": None,
            "adminUserSshPublicKey": None,
        },
        "virtualMachineConfiguration": {
            "imageReference": {
                "offer": "linux-data-science-vm-ubuntu",
                "publisher": "microsoft-ads",
                "sku": "linuxdsvmubuntu",
                "version": "latest",
                "virtualMachineImageId": None,
            }
        },
        "vmPriority": "dedicated",
        "vmSize": "STANDARD_NC6",
    }
    assert terminal.run("cluster list -g ns -w quickstart -o table").splitlines()[2].split() == [
        *("nc6", "ns", "quickstart", "STANDARD_NC6", "steady", "0", "0", "0", "0", "0")
    ]


def test_job_as_the_quickstart_prints_it(terminal: Terminal) -> None:
    made = terminal.run(CREATE)
    assert (made["name"], made["executionState"], made["executionInfo"]) == ("cntk_python_1", "queued", None)
    segment = f"{SUBSCRIPTION}/ns/workspaces/quickstart/experiments/quickstart/jobs/cntk_python_1/uuid"
    set_status(
        terminal,
        executionInfo={"startTime": "2018-06-14T22:22:59.838Z", "errors": []},
        executionState="running",
        executionStateTransitionTime="2018-06-14T22:22:59.838Z",
        jobOutputDirectoryPathSegment=segment,
        provisioningStateTransitionTime="2018-06-14T22:22:58.625Z",
        toolType="cntk",
    )
    credentials = {"accountKey": None, "accountKeySecretReference": None}
    assert terminal.run(f"job show -n cntk_python_1 {PLACE}") == {
        "caffe2Settings": None,
        "caffeSettings": None,
        "chainerSettings": None,
        "cluster": {"id": f"{ID}/clusters/nc6", "resourceGroup": "ns"},
        "cntkSettings": {
            "commandLineArgs": "$AZ_BATCHAI_JOB_MOUNT_ROOT/data/mnist_cntk $AZ_BATCHAI_OUTPUT_MODEL",
            "configFilePath": None,
            "languageType": "Python",
            "processCount": 1,
            "pythonInterpreterPath": None,
            "pythonScriptFilePath": "$AZ_BATCHAI_JOB_MOUNT_ROOT/scripts/cntk/ConvNet_MNIST.py",
        },
        "constraints": {"maxWallClockTime": "7 days, 0:00:00"},
        "containerSettings": None,
        "creationTime": "2026-01-02T03:04:05+00:00",
        "customMpiSettings": None,
        "customToolkitSettings": None,
        "environmentVariables": None,
        "executionInfo": {
            "endTime": None,
            "errors": None,
            "exitCode": None,
            "startTime": "2018-06-14T22:22:59.838000+00:00",
        },
        "executionState": "running",
        "executionStateTransitionTime": "2018-06-14T22:22:59.838000+00:00",
        "horovodSettings": None,
        "id": f"{ID}/experiments/quickstart/jobs/cntk_python_1",
        "inputDirectories": None,
        "jobOutputDirectoryPathSegment": segment,
        "jobPreparation": None,
        "mountVolumes": {
            "azureBlobFileSystems": [
                {
                    "accountName": "acc",
                    "containerName": "data",
                    "credentials": credentials,
                    "mountOptions": None,
                    "relativeMountPath": "data",
                }
            ],
            "azureFileShares": [
                {
                    "accountName": "acc",
                    "azureFileUrl": f"https://acc.file.core.windows.net/{share}",
                    "credentials": credentials,
                    "directoryMode": "0777",
                    "fileMode": "0777",
                    "relativeMountPath": share,
                }
                for share in ("logs", "scripts")
            ],
            "fileServers": None,
            "unmanagedFileSystems": None,
        },
        "name": "cntk_python_1",
        "nodeCount": 1,
        "outputDirectories": [{"id": "MODEL", "pathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs", "pathSuffix": None}],
        "provisioningState": "succeeded",
        "provisioningStateTransitionTime": "2018-06-14T22:22:58.625000+00:00",
        "pyTorchSettings": None,
        "resourceGroup": "ns",
        "schedulingPriority": "normal",
        "secrets": None,
        "stdOutErrPathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs",
        "tensorFlowSettings": None,
        "toolType": "cntk",
        "type": "Microsoft.BatchAI/workspaces/experiments/jobs",
    }
    query = terminal.run(f"job show -n cntk_python_1 {PLACE} --query jobOutputDirectoryPathSegment")
    assert query == segment
    assert terminal.run(f"job list {PLACE} -o table").splitlines() == [
        "Name           Cluster  Cluster RG  Cluster Workspace  Tool  Nodes  State    Exit code",
        "-------------  -------  ----------  -----------------  ----  -----  -------  ---------",
        "cntk_python_1  nc6      ns          quickstart         cntk  1      running",
    ]


def test_the_job_that_is_made(terminal: Terminal) -> None:
    terminal.run(CREATE)
    made = terminal.kube.one(JOBS, "cntk-python-1")
    assert made["metadata"]["labels"] == {
        "batchai.dev/name": "cntk_python_1",
        "batchai.dev/workspace": "quickstart",
        "batchai.dev/experiment": "quickstart",
    }
    assert (made["spec"]["experiment"], made["spec"]["cluster"]) == ("quickstart", "nc6")
    assert "a2V5" not in json.dumps(made)
    assert terminal.kube.one(SECRETS, "batchai-storage-acc")["data"]["azurestorageaccountkey"] == "YTJWNQ=="
    with pytest.raises(Problem, match="job 'cntk_python_1' already exists in experiment 'quickstart'"):
        terminal.run(CREATE)


def test_a_language_is_shown_as_the_service_wrote_it(terminal: Terminal, tmp_path: Path) -> None:
    """Its notebooks wrote `python`."""
    settings = {"languageType": "python", "pythonScriptFilePath": "a.py"}
    made = terminal.run(command_of(tmp_path / "job.json", cntkSettings=settings))
    assert made["cntkSettings"]["languageType"] == "Python"


def test_one_job_name_in_two_experiments(terminal: Terminal) -> None:
    terminal.run("experiment create -g ns -w quickstart -n second")
    terminal.run(CREATE)
    other = CREATE.replace("-e quickstart", "-e second")
    assert terminal.run(other)["id"] == f"{ID}/experiments/second/jobs/cntk_python_1"
    names = sorted(name for plural, _, name in terminal.kube.objects if plural == "jobs")
    assert len(names) == 2
    assert names[1].startswith("cntk-python-1-")


def test_long_names_leave_room_for_pods(terminal: Terminal) -> None:
    terminal.run(CREATE.replace("cntk_python_1", "x" * 63))
    [name] = [name for plural, _, name in terminal.kube.objects if plural == "jobs"]
    assert len(name) == 50


def test_secret_values_live_in_a_secret_of_the_job(terminal: Terminal, tmp_path: Path) -> None:
    printed = terminal.run(with_secret(tmp_path))
    assert printed["secrets"] == [{"name": "TOKEN", "value": None, "valueSecretReference": None}]
    made = terminal.kube.one(JOBS, "cntk-python-1")
    secret = terminal.kube.one(SECRETS, "cntk-python-1-secrets")
    assert secret["stringData"] == {"TOKEN": "hush"}
    assert [owner["uid"] for owner in secret["metadata"]["ownerReferences"]] == [made["metadata"]["uid"]]
    assert "hush" not in json.dumps(made)


def test_a_job_that_is_refused_leaves_no_secret(terminal: Terminal, tmp_path: Path) -> None:
    terminal.kube.refused.add(JOBS)
    with pytest.raises(Exception, match="refused"):
        terminal.run(with_secret(tmp_path))
    assert ("secrets", "ns", "cntk-python-1-secrets") not in terminal.kube.objects


def test_a_secret_that_an_earlier_job_left_is_replaced(terminal: Terminal, tmp_path: Path) -> None:
    command = with_secret(tmp_path, "new")
    name = "cntk-python-1-secrets"
    labels = {"app.kubernetes.io/managed-by": "batchai"}
    terminal.kube.put(SECRETS, {"metadata": {"name": name, "namespace": "ns", "labels": labels}})
    terminal.run(command)
    assert terminal.kube.one(SECRETS, name)["stringData"] == {"TOKEN": "new"}
    terminal.kube.put(SECRETS, {"metadata": {"name": "other-secrets", "namespace": "ns"}})
    with pytest.raises(Problem, match="Secret 'other-secrets' in 'ns' is in the way"):
        terminal.run(command.replace("cntk_python_1", "other"))


def test_a_job_whose_creation_was_not_answered_keeps_its_secret(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = terminal.kube.create

    def lose(resource: Resource, namespace: str | None, body: Any) -> Any:
        made = create(resource, namespace, body)
        if resource == JOBS:
            raise KubeApiError(0, "Unreachable", "gone")
        return made

    monkeypatch.setattr(terminal.kube, "create", lose)
    with pytest.raises(KubeApiError, match="gone"):
        terminal.run(with_secret(tmp_path))
    assert terminal.kube.one(SECRETS, "cntk-python-1-secrets")["stringData"] == {"TOKEN": "hush"}


def test_a_job_of_another_experiment_that_was_quicker_keeps_its_secret(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.run("experiment create -g ns -w quickstart -n other")
    monkeypatch.setattr("batchai.cli.lookup.free_name", lambda *_: "cntk-python-1")
    terminal.run(with_secret(tmp_path))
    with pytest.raises(Problem, match="Secret 'cntk-python-1-secrets' in 'ns' belongs to another resource"):
        terminal.run(with_secret(tmp_path).replace("-e quickstart", "-e other"))
    del terminal.kube.objects["secrets", "ns", "cntk-python-1-secrets"]
    with pytest.raises(Problem, match="another job took the Kubernetes name 'cntk-python-1' at the same time"):
        terminal.run(with_secret(tmp_path).replace("-e quickstart", "-e other"))
    assert ("secrets", "ns", "cntk-python-1-secrets") not in terminal.kube.objects


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("environmentVariables", {"A": "1"}, r"properties\.environmentVariables: is no list"),
        ("environmentVariables", ["A=1"], r"properties\.environmentVariables\[0\]: is no object"),
        ("mountVolumes", [], r"properties\.mountVolumes: is no object"),
        (
            "mountVolumes",
            {"azureFileShares": [{"azureFileUrl": "https://acc.file.core.windows.net/s", "credentials": "abc"}]},
            r"properties\.mountVolumes\.azureFileShares\[0\]\.credentials: is no object",
        ),
    ],
)
def test_a_file_of_another_shape_is_refused(
    terminal: Terminal, tmp_path: Path, field: str, value: Any, sentence: str
) -> None:
    command = command_of(tmp_path / "shape.json", **{field: value})
    with pytest.raises(UsageProblem, match=sentence):
        terminal.run(command, "--env", "B=2")


@pytest.mark.parametrize(
    ("properties", "sentence"),
    [
        ({"nodeSetup": []}, r"properties\.nodeSetup: is no object"),
        ({"nodeSetup": {"mountVolumes": []}}, r"properties\.nodeSetup\.mountVolumes: is no object"),
        ({"nodeSetup": {"setupTask": "ls"}}, r"properties\.nodeSetup\.setupTask: is no object"),
        ({"userAccountSettings": "me"}, r"properties\.userAccountSettings: is no object"),
    ],
)
def test_a_clusters_file_of_another_shape_is_refused(
    terminal: Terminal, tmp_path: Path, properties: dict[str, Any], sentence: str
) -> None:
    path = tmp_path / "cluster.json"
    path.write_text(json.dumps({"properties": properties}))
    command = "cluster create -n nc7 -g ns -w quickstart -s Standard_NC6 -t 1 --setup-task ls --setup-task-output /x"
    with pytest.raises(UsageProblem, match=sentence):
        terminal.run(f"{command} -f {path}")


def test_a_bad_file_has_no_effect(terminal: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(QUICKSTART.read_text().replace('"nodeCount": 1', '"nodeCount": 0'))
    before = set(terminal.kube.objects)
    with pytest.raises(UsageProblem, match=r"properties.nodeCount: input should be greater than or equal to 1"):
        terminal.run(CREATE.replace(str(QUICKSTART), str(path)))
    assert set(terminal.kube.objects) == before


def test_wait_outlasts_an_outage(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal.run(CREATE)
    have_one_outage(terminal, monkeypatch)
    terminal.sleeping = lambda: set_status(terminal, executionState="succeeded")
    with pytest.raises(SystemExit, match="0"):
        terminal.run(f"job wait -n cntk_python_1 {PLACE}")


def test_cluster_by_id(terminal: Terminal) -> None:
    cluster = f"{ID}/clusters/nc6"
    assert terminal.run(CREATE.replace("-c nc6", f"-c {cluster}"))["cluster"]["id"] == cluster
    for reference, sentence in (
        (cluster.replace("/ns/", "/other/"), "is in resource group 'other', the job in 'ns'"),
        ("/subscriptions/x", "is no cluster's id"),
    ):
        with pytest.raises(UsageProblem, match=sentence) as caught:
            terminal.run(CREATE.replace("-c nc6", f"-c {reference}").replace("cntk_python_1", "j"))
        assert "-c" in caught.value.hint
    with pytest.raises(UsageProblem, match="names no cluster"):
        terminal.run(CREATE.replace("-c nc6", ""))
    with pytest.raises(NotFound, match="cluster 'none' does not exist in workspace 'quickstart'"):
        terminal.run(CREATE.replace("-c nc6", "-c none"))


def test_cluster_by_its_id_of_before(terminal: Terminal) -> None:
    """docs/migrating.md: the group `batchai.quickstart` became the namespace `batchai-quickstart`."""
    place = PLACE.replace("-g ns", "-g batchai-quickstart")
    terminal.run("group create -n batchai-quickstart")
    terminal.run("workspace create -g batchai-quickstart -n quickstart")
    terminal.run("cluster create -g batchai-quickstart -w quickstart -n nc6 -s Standard_NC6 -t 1")
    terminal.run("experiment create -g batchai-quickstart -w quickstart -n quickstart")
    for group in ("batchai.quickstart", "Batchai-Quickstart"):
        cluster = f"{ID}/clusters/nc6".replace("/ns/", f"/{group}/")
        command = CREATE.replace(PLACE, place).replace("-c nc6", f"-c {cluster}")
        made = terminal.run(command.replace("cntk_python_1", group.replace(".", "-")))
        assert made["cluster"]["resourceGroup"] == "batchai-quickstart"


def test_a_job_outlives_its_cluster(terminal: Terminal) -> None:
    terminal.run(CREATE)
    terminal.run("cluster delete -n nc6 -g ns -w quickstart -y")
    assert terminal.run(f"job show -n cntk_python_1 {PLACE}")["cluster"]["id"] == f"{ID}/clusters/nc6"


def test_terminate_waits_for_the_end(terminal: Terminal) -> None:
    terminal.run(CREATE)
    terminal.sleeping = lambda: set_status(terminal, executionState="failed")
    assert terminal.run(f"job terminate -n cntk_python_1 {PLACE} -y") == ""
    assert terminal.kube.one(JOBS, "cntk-python-1")["spec"]["terminate"] is True


def test_terminate_leaves_a_finished_job_as_it_is(terminal: Terminal) -> None:
    terminal.run(CREATE)
    set_status(terminal, executionState="succeeded")
    terminal.run(f"job terminate -n cntk_python_1 {PLACE} -y")
    assert "terminate" not in terminal.kube.one(JOBS, "cntk-python-1")["spec"]


@pytest.mark.parametrize(
    ("state", "info", "code"),
    [
        ("succeeded", {"exitCode": 0}, 0),
        ("failed", {"exitCode": 3, "errors": [{"code": "JobFailed", "message": "non-zero"}]}, 3),
        ("failed", {"errors": [{"code": "JobTerminated", "message": "m"}]}, -1),
        ("failed", None, -1),
    ],
)
def test_wait_exits_as_the_job_did(terminal: Terminal, state: str, info: dict[str, Any] | None, code: int) -> None:
    terminal.run(CREATE)
    steps = iter(
        [
            {"executionState": "running", "executionInfo": {"startTime": "2026-01-02T03:05:00Z"}},
            {"executionState": state, "executionInfo": info},
        ]
    )
    terminal.sleeping = lambda: set_status(terminal, **next(steps))
    with pytest.raises(SystemExit) as caught:
        terminal.run(f"job wait -n cntk_python_1 {PLACE}")
    assert caught.value.code == code
    assert terminal.said[:4] == [
        "Job submitted at 2026-01-02T03:04:05Z",
        "Job state: queued",
        "Job started at 2026-01-02T03:05:00Z",
        "Job state: running",
    ]
    assert terminal.said[4] == f"Job state: {state}"
    assert terminal.seconds == 30


def test_wait_tells_what_a_queued_job_waits_for(terminal: Terminal) -> None:
    terminal.run(CREATE)
    set_status(terminal, executionState="queued", waiting={"reason": "NoNodes", "message": "no idle node"})
    terminal.sleeping = lambda: set_status(terminal, executionState="succeeded", waiting=None)
    with pytest.raises(SystemExit):
        terminal.run(f"job wait -n cntk_python_1 {PLACE}")
    assert "Job state: queued: no idle node" in terminal.said


def test_a_queued_job_says_what_it_waits_for(terminal: Terminal) -> None:
    terminal.run(CREATE)
    set_status(terminal, executionState="queued", waiting={"reason": "NoNodes", "message": "no idle node."})
    assert "waiting" not in terminal.run(f"job show -n cntk_python_1 {PLACE}")
    assert terminal.said == ["The job is queued: no idle node."]


def test_wait_for_a_job_that_is_deleted(terminal: Terminal) -> None:
    terminal.run(CREATE)
    terminal.sleeping = lambda: terminal.kube.objects.pop(("jobs", "ns", "cntk-python-1"))
    with pytest.raises(NotFound, match="was deleted while"):
        terminal.run(f"job wait -n cntk_python_1 {PLACE}")


def test_wait_does_not_follow_another_job_of_the_name(terminal: Terminal) -> None:
    terminal.run(CREATE)

    def replace() -> None:
        made = terminal.kube.one(JOBS, "cntk-python-1")
        made["metadata"]["uid"] = "another"
        made["status"] = {"executionState": "succeeded"}

    terminal.sleeping = replace
    with pytest.raises(NotFound, match="was deleted while"):
        terminal.run(f"job wait -n cntk_python_1 {PLACE}")


def test_wait_for_several_jobs_exits_with_the_first_failure(terminal: Terminal) -> None:
    ids = [terminal.run(CREATE.replace("cntk_python_1", name))["id"] for name in ("a", "b", "c")]
    set_status(terminal, "a", executionState="succeeded")
    set_status(terminal, "b", executionState="failed", executionInfo={"exitCode": 7})
    set_status(terminal, "c", executionState="failed", executionInfo={"exitCode": 9})
    with pytest.raises(SystemExit) as caught:
        terminal.run(f"job wait --ids {' '.join(ids)}")
    assert caught.value.code == 7
    assert [line for line in terminal.said if line.startswith("Job state")] == [
        "Job state: succeeded",
        "Job state: failed",
        "Job state: failed",
    ]


@pytest.mark.parametrize("interval", ["0", "-1", "nan", "inf", "soon"])
def test_wait_needs_a_pause(terminal: Terminal, interval: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        terminal.run(f"job wait -n j {PLACE} --interval={interval}")


def test_an_outage_does_not_end_a_wait_for_termination(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal.run(CREATE)
    have_one_outage(terminal, monkeypatch)
    terminal.sleeping = lambda: set_status(terminal, executionState="failed")
    terminal.run(f"job terminate -n cntk_python_1 {PLACE} -y")


def test_cluster_of_a_file_under_options(terminal: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "cluster.json"
    path.write_text(
        json.dumps(
            {
                "properties": {
                    "vmSize": "STANDARD_NC12",
                    "scaleSettings": {"autoScale": {"minimumNodeCount": 0, "maximumNodeCount": 2}},
                    "userAccountSettings": {"adminUserName": "me", "adminUserPassword": "hush"},
                    "nodeSetup": {
                        "setupTask": {
                            "commandLine": "true",
                            "stdOutErrPathPrefix": "$AZ_BATCHAI_MOUNT_ROOT/afs",
                            "secrets": [{"name": "TOKEN", "value": "hush"}],
                        },
                        "performanceCountersSettings": {
                            "appInsightsReference": {"component": {"id": "/c"}, "instrumentationKey": "hush"}
                        },
                    },
                    "priority": "none",
                }
            }
        )
    )
    command = f"cluster create -n c_2 -g ns -w quickstart -f {path} -t 3 --afs-name share"
    made = terminal.run(command, "--storage-account-name=acc")
    assert made["vmSize"] == "STANDARD_NC12"
    assert made["scaleSettings"]["manual"]["targetNodeCount"] == 3
    assert made["userAccountSettings"]["adminUserName"] == "me"
    assert made["nodeSetup"]["mountVolumes"]["azureFileShares"][0]["accountName"] == "acc"
    assert terminal.said == [
        f"WARNING: {path}: ignored, as unknown: properties.priority.",
        "WARNING: the instrumentationKey of Application Insights is not kept: no counters are sent there.",
        "WARNING: the administrator's password is not kept: nodes of Kubernetes get no accounts.",
    ]
    spec = terminal.kube.one(CLUSTERS, "c-2")["spec"]
    assert "hush" not in json.dumps(spec)
    assert terminal.kube.one(SECRETS, "c-2-secrets")["stringData"] == {"TOKEN": "hush"}
    assert spec["workspace"] == "quickstart"
    assert spec["nodeSetup"]["performanceCountersSettings"] == {"appInsightsReference": {"component": {"id": "/c"}}}
    [share] = spec["nodeSetup"]["mountVolumes"]["azureFileShares"]
    assert share["credentials"] == {"secretRef": {"name": "batchai-storage-acc"}}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("-t 1", "the cluster has no vmSize"),
        ("-s Standard_NC6", "the cluster has no scaleSettings"),
        ("-s Standard_NC6 -t 1 --setup-task=x", "--setup-task needs --setup-task-output"),
    ],
)
def test_clusters_that_lack_something(terminal: Terminal, arguments: str, sentence: str) -> None:
    with pytest.raises(UsageProblem, match=sentence):
        terminal.run(f"cluster create -n c -g ns -w quickstart {arguments}")


def test_ssh_keys_are_made_once_and_only_when_asked(terminal: Terminal, home: Path) -> None:
    create = "cluster create -g ns -w quickstart -s Standard_NC6 -t 1"
    terminal.run(f"{create} -n a")
    assert not (home / ".ssh").exists()
    first = terminal.run(f"{create} -n b --generate-ssh-keys")["userAccountSettings"]
    assert first["adminUserSshPublicKey"] == (home / ".ssh/id_rsa.pub").read_text().strip()
    assert (home / ".ssh/id_rsa").stat().st_mode & 0o777 == 0o600
    again = terminal.run(f"{create} -n c --generate-ssh-keys")["userAccountSettings"]
    assert again == first
    (home / "own.pub").write_text("nonsense")
    with pytest.raises(UsageProblem, match="no RSA public key"):
        terminal.run(f"{create} -n d -k {home}/own.pub")
    with pytest.raises(UsageProblem, match="there is no file"):
        terminal.run(f"{create} -n d -k {home}/none.pub")
    (home / ".ssh/id_rsa.pub").unlink()
    with pytest.raises(UsageProblem, match="its public key does not"):
        terminal.run(f"{create} -n d --generate-ssh-keys")


def test_clusters_change_their_size(terminal: Terminal) -> None:
    name = "-n nc6 -g ns -w quickstart"
    grown = terminal.run(f"cluster resize {name} -t 3")
    manual = {"targetNodeCount": 3, "nodeDeallocationOption": "requeue"}
    assert grown["scaleSettings"] == {"autoScale": None, "manual": manual}
    following = terminal.run(f"cluster auto-scale {name} --min 0 --max 4")
    bounds = {"minimumNodeCount": 0, "maximumNodeCount": 4, "initialNodeCount": 0}
    assert following["scaleSettings"] == {"autoScale": bounds, "manual": None}
    assert terminal.kube.one(CLUSTERS, "nc6")["spec"]["scaleSettings"] == {"autoScale": bounds}
    with pytest.raises(UsageProblem, match="--min 5 is greater than --max 4"):
        terminal.run(f"cluster auto-scale {name} --min 5 --max 4")
