import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as having
from hypothesis import strategies as st

from batchai.api.job import JobSpec
from batchai.cli import jobfile, mounts
from batchai.cli.accounts import Given
from batchai.cli.arguments import Parser, storage
from batchai.cli.configfile import fill_placeholders, refusals_of
from batchai.cli.jobfile import JobFile
from batchai.cli.problems import UsageProblem
from batchai.errors import KubeApiError
from batchai.storage.account import StorageAccount

QUICKSTART = Path(__file__).parent / "data" / "quickstart-job.json"
ACCOUNT = Given("myaccount", {"myaccount": StorageAccount("myaccount", "secret")})
MINIMAL = {
    "nodeCount": 1,
    "customToolkitSettings": {"commandLine": "true"},
    "stdOutErrPathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs",
}


def options(*arguments: str) -> dict[str, Any]:
    parser = Parser()
    storage(parser)
    parser.add_argument("--env", action="append", default=[])
    return vars(parser.parse_args(arguments))


def read(path: Path, *arguments: str, given: Given = ACCOUNT) -> JobFile:
    return jobfile.read(str(path), options(*arguments), given)


def spec(file: JobFile, **secrets: str) -> dict[str, Any]:
    return file.spec(experiment="exp", cluster="nc6", accounts=secrets, job="j")


@pytest.fixture
def job_json(tmp_path: Path) -> Any:
    def write(**properties: Any) -> Path:
        path = tmp_path / "job.json"
        path.write_text(json.dumps({"properties": {**MINIMAL, **properties}}))
        return path

    return write


def test_the_quickstarts_file_as_it_is() -> None:
    file = read(QUICKSTART)
    assert file.warnings == []
    assert file.cluster is None
    assert file.keys == {"myaccount": None}
    reference = {"secretRef": {"name": "batchai-storage-myaccount"}}
    assert spec(file, myaccount="batchai-storage-myaccount") == {
        "experiment": "exp",
        "cluster": "nc6",
        "nodeCount": 1,
        "cntkSettings": {
            "pythonScriptFilePath": "$AZ_BATCHAI_JOB_MOUNT_ROOT/scripts/cntk/ConvNet_MNIST.py",
            "commandLineArgs": "$AZ_BATCHAI_JOB_MOUNT_ROOT/data/mnist_cntk $AZ_BATCHAI_OUTPUT_MODEL",
        },
        "stdOutErrPathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs",
        "outputDirectories": [{"id": "MODEL", "pathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs"}],
        "mountVolumes": {
            "azureFileShares": [
                {
                    "accountName": "myaccount",
                    "azureFileUrl": f"https://myaccount.file.core.windows.net/{share}",
                    "relativeMountPath": share,
                    "credentials": reference,
                }
                for share in ("logs", "scripts")
            ],
            "azureBlobFileSystems": [
                {
                    "accountName": "myaccount",
                    "containerName": "data",
                    "relativeMountPath": "data",
                    "credentials": reference,
                }
            ],
        },
    }


def test_without_an_account_the_placeholder_is_named() -> None:
    with pytest.raises(UsageProblem, match=r"azureFileShares\[0\].accountName: '<your_storage") as caught:
        read(QUICKSTART, given=Given())
    assert "--storage-account-name" in caught.value.hint


def test_placeholders_of_the_recipes(job_json: Any) -> None:
    path = job_json(
        mountVolumes={
            "azureFileShares": [
                {
                    "accountName": "<AZURE_BATCHAI_STORAGE_ACCOUNT>",
                    "azureFileUrl": "https://<AZURE_BATCHAI_STORAGE_ACCOUNT>.file.core.windows.net/logs",
                    "relativeMountPath": "logs",
                    "credentials": {"accountKey": "<AZURE_BATCHAI_STORAGE_KEY>"},
                }
            ]
        }
    )
    assert read(path).keys == {"myaccount": "secret"}
    assert read(path, given=Given("myaccount")).keys == {"myaccount": None}


def test_an_inline_key_never_reaches_the_spec(job_json: Any) -> None:
    path = job_json(
        mountVolumes={
            "azureBlobFileSystems": [
                {
                    "accountName": "other",
                    "containerName": "data",
                    "relativeMountPath": "data",
                    "credentials": {"accountKey": "hush+key=="},
                }
            ]
        }
    )
    file = read(path)
    assert file.keys == {"other": "hush+key=="}
    assert "hush" not in json.dumps(spec(file, other="s"))
    assert "hush" not in repr(file)


def test_references_stay(job_json: Any) -> None:
    vault = {"sourceVault": {"id": "/v"}, "secretUrl": "https://v/secrets/k"}
    registry = {"image": "acr.example/x", "credentials": {"username": "me", "passwordSecretReference": vault}}
    blob = {"accountName": "other", "containerName": "data"}
    share = {"accountName": "other", "azureFileUrl": "https://other.file.core.windows.net/s"}
    mounted = [
        {**blob, "relativeMountPath": "a", "credentials": {"accountKeySecretReference": vault}},
        {**blob, "relativeMountPath": "b", "credentials": {"secretRef": {"name": "mine"}}},
    ]
    shares = [{**share, "relativeMountPath": "c", "credentials": {"accountKeySecretReference": vault}}]
    volumes = {"azureBlobFileSystems": mounted, "azureFileShares": shares}
    variables = [{"name": "K", "valueSecretReference": vault}]
    settings = {"imageSourceRegistry": registry}
    file = read(job_json(mountVolumes=volumes, secrets=variables, containerSettings=settings))
    assert file.keys == {}
    assert file.secrets("j", "ns") == []
    made = spec(file)
    assert (made["mountVolumes"], made["secrets"], made["containerSettings"]) == (volumes, variables, settings)


def test_secret_values_become_references(job_json: Any) -> None:
    vault = {"sourceVault": {"id": "/v"}, "secretUrl": "https://v/secrets/k"}
    file = read(job_json(secrets=[{"name": "TOKEN", "value": "hush"}, {"name": "K", "valueSecretReference": vault}]))
    [secret] = file.secrets("j", "ns")
    assert secret["metadata"]["name"] == "j-secrets"
    assert secret["stringData"] == {"TOKEN": "hush"}
    made = spec(file)
    assert "hush" not in json.dumps(made) + repr(file)
    assert made["secrets"][0] == {
        "name": "TOKEN",
        "valueFrom": {"secretKeyRef": {"name": "j-secrets", "key": "TOKEN"}},
    }
    assert made["secrets"][1]["valueSecretReference"] == vault


def test_a_registrys_password_becomes_a_pull_secret(job_json: Any) -> None:
    credentials = {"username": "me", "password": "hush"}
    source = {"serverUrl": "acr.example", "image": "acr.example/x", "credentials": credentials}
    file = read(job_json(containerSettings={"imageSourceRegistry": source, "shmSize": "1gb"}))
    [secret] = file.secrets("j", "ns")
    assert secret["type"] == "kubernetes.io/dockerconfigjson"
    login = json.loads(secret["stringData"][".dockerconfigjson"])["auths"]["acr.example"]
    assert login == {"username": "me", "password": "hush", "auth": "bWU6aHVzaA=="}
    made = spec(file)
    assert made["containerSettings"] == {
        "imageSourceRegistry": {
            **source,
            "credentials": {"username": "me", "secretRef": {"name": secret["metadata"]["name"]}},
        },
        "shmSize": "1gb",
    }


def test_a_registrys_secret_needs_no_user_but_a_password_does(job_json: Any) -> None:
    def settings(credentials: Any) -> Any:
        return {"imageSourceRegistry": {"image": "acr.example/x", "credentials": credentials}}

    given = settings({"secretRef": {"name": "pull"}})
    assert spec(read(job_json(containerSettings=given)))["containerSettings"] == given
    with pytest.raises(UsageProblem, match=r"imageSourceRegistry\.credentials\.username: is missing"):
        read(job_json(containerSettings=settings({"password": "hush"})))


def test_options_add_mounts_and_variables(job_json: Any) -> None:
    file = read(
        job_json(environmentVariables=[{"name": "A", "value": "1"}]),
        *("--afs-name=share", "--bfs-name=box", "--bfs-mount-path=in", "--env=B=x=y", "--env=C="),
    )
    made = spec(file, myaccount="s")
    assert made["environmentVariables"] == [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "x=y"},
        {"name": "C", "value": ""},
    ]
    share, box = (made["mountVolumes"][kind][0] for kind in ("azureFileShares", "azureBlobFileSystems"))
    assert (share["azureFileUrl"], share["relativeMountPath"]) == (
        "https://myaccount.file.core.windows.net/share",
        "afs",
    )
    assert (box["accountName"], box["containerName"], box["relativeMountPath"]) == ("myaccount", "box", "in")


def test_unknown_keys_are_named_and_comments_are_not(job_json: Any) -> None:
    file = read(
        job_json(
            comment="mine",
            experimentName="old",
            cntkSettings=None,
            outputDirectories=[{"id": "M", "pathPrefix": "/x", "createNew": True, "comment": "c"}],
        )
    )
    [warning] = file.warnings
    assert warning.endswith(
        "ignored, as unknown: properties.experimentName, properties.outputDirectories[0].createNew."
    )
    assert "comment" not in json.dumps(spec(file))


def test_nulls_are_as_if_absent(job_json: Any) -> None:
    path = job_json(jobPreparation=None, mountVolumes={"azureFileShares": None})
    assert spec(read(path)) == {**MINIMAL, "experiment": "exp", "cluster": "nc6", "mountVolumes": {}}


@pytest.mark.parametrize("cluster", [{"id": "nc6"}, "nc6"])
def test_cluster_of_the_file(job_json: Any, cluster: Any) -> None:
    assert read(job_json(cluster=cluster)).cluster == "nc6"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", r"job.json: line 1, column 2: Expecting property name enclosed in double quotes."),
        ("[]", r'job.json: has no object "properties" at its top'),
        ("{}", r'job.json: has no object "properties" at its top'),
        ('{"properties": {"mountVolumes": []}}', r"job.json: properties.mountVolumes: is no object."),
        ("\xff", r"job.json: is not UTF-8 text."),
    ],
)
def test_files_that_are_none(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "job.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageProblem, match=sentence):
        read(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match=r"none.json: No such file or directory."):
        read(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("properties", "field"),
    [
        ({"nodeCount": "many"}, "properties.nodeCount: "),
        ({"stdOutErrPathPrefix": None}, "properties.stdOutErrPathPrefix: "),
        ({"environmentVariables": [{"value": "A"}]}, r"properties.environmentVariables\[0\].name: "),
        ({"schedulingPriority": "urgent"}, "properties.schedulingPriority: "),
    ],
)
def test_wrong_fields_are_named(job_json: Any, properties: dict[str, Any], field: str) -> None:
    with pytest.raises(UsageProblem, match=f"job.json: {field}"):
        spec(read(job_json(**properties)))


def test_what_the_api_server_refuses_is_said_of_the_file() -> None:
    message = (
        'Job.batchai.dev "j" is invalid: [spec: Invalid value: set exactly one of a, b,'
        " spec.outputDirectories[0].id: Invalid value: use letters]"
    )
    with pytest.raises(UsageProblem) as caught, refusals_of("job.json"):
        raise KubeApiError(422, "Invalid", message)
    assert caught.value.sentence == (
        "job.json: properties: set exactly one of a, b, properties.outputDirectories[0].id: use letters"
    )
    with pytest.raises(KubeApiError), refusals_of("job.json"):
        raise KubeApiError(403, "Forbidden", "no")


def test_options_that_need_an_account() -> None:
    with pytest.raises(UsageProblem, match="--afs-name has no account"):
        mounts.combine({}, options("--afs-name=x"), Given(), "p")


@having(st.text(alphabet="abz019", min_size=3, max_size=24), st.text(max_size=30))
def test_placeholders_are_filled_wherever_they_stand(account: str, rest: str) -> None:
    url = f"https://<YOUR_STORAGE_ACCOUNT>.x/{rest}"
    filled = fill_placeholders({"azureFileShares": [{"azureFileUrl": url, "relativeMountPath": url}]}, account, None)
    [mount] = filled["azureFileShares"]
    assert mount["azureFileUrl"] == url.replace("<YOUR_STORAGE_ACCOUNT>", account)
    assert mount["relativeMountPath"] == url


def test_every_field_of_a_job_is_known() -> None:
    assert {"cntkSettings", "mountVolumes", "secrets"} <= {
        field.alias or name for name, field in JobSpec.model_fields.items()
    }
