"""What the API server admits and refuses by the CRDs alone: every rule of crds/ has a case here."""

import copy
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from tests.e2e.jobs import Cluster

Object = dict[str, Any]

GROUP = "batchai.dev"
VERSION = "v1alpha1"
CRDS = [
    yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((Path(__file__).parents[2] / "crds").glob("*.yaml"))
    if path.name != "kustomization.yaml"
]
KINDS = {crd["spec"]["names"]["kind"]: crd["spec"]["names"]["plural"] for crd in CRDS}


class Case(NamedTuple):
    """A change to the kind's smallest object (None removes a field), and the rule that refuses it."""

    kind: str
    field: str
    message: str
    change: Object


SHARE = {"azureFileUrl": "https://acc.file.core.windows.net/logs", "relativeMountPath": "logs"}
CONTAINER = {"accountName": "acc", "containerName": "data", "relativeMountPath": "data"}
SERVER = {"fileServer": {"id": "nfs"}, "relativeMountPath": "nfs"}
UNMANAGED = {"mountCommand": "mount -t nfs host:/x", "relativeMountPath": "own"}
CLAIM = {"claimName": "training", "relativeMountPath": "claim"}
SECRET = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "token", "key": "value"}}}
IN_VAULT = {"sourceVault": {"id": "/v"}, "secretUrl": "https://v.vault.azure.net/secrets/s"}
SETUP = {"commandLine": "true", "stdOutErrPathPrefix": "$AZ_BATCHAI_MOUNT_ROOT/logs"}

SMALLEST: Mapping[str, Object] = {
    "Workspace": {},
    "Experiment": {"workspace": "work"},
    "Cluster": {"workspace": "work", "vmSize": "Standard_Test"},
    "FileServer": {
        "workspace": "work",
        "vmSize": "Standard_Test",
        "dataDisks": {"diskSizeInGB": 10, "diskCount": 2, "storageAccountType": "Standard_LRS"},
    },
    "Job": {
        "experiment": "exp",
        "cluster": "absent",
        "nodeCount": 1,
        "stdOutErrPathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs",
        "customToolkitSettings": {"commandLine": "true"},
    },
}

NAME = "metadata.name must have at most 63 characters"
JOB_NAME = "metadata.name must have at most 50 characters, because the names of the job's pods are made from it"
ONE_TOOLKIT = (
    "set exactly one of cntkSettings, pyTorchSettings, tensorFlowSettings, caffeSettings, caffe2Settings, "
    "chainerSettings, customToolkitSettings, customMpiSettings, horovodSettings"
)
BOTH = "environmentVariables and secrets must not have the same name"
VM_SIZE = "vmSize may not be STANDARD_A0 or of the families GS, DS and DSv2: choose another, such as Standard_NC6"
NO_PASSWORD = "adminUserPassword may not stand in a resource: leave it out, nodes get no accounts"
SCALE = "scaleSettings must have either manual or autoScale"
MINIMUM = "autoScale.minimumNodeCount must not be greater than maximumNodeCount"
INITIAL = "autoScale.initialNodeCount must not be greater than maximumNodeCount"
VARIABLE = "name must be an environment variable's name: letters, digits and '_', not beginning with a digit"
RESERVED = "names that begin with AZ_BATCHAI_ or BATCHAI_LAUNCH_ are set by the operator: choose another"
NO_SECRET = (
    "a secret's value may not stand in a resource: put it into a Secret and name it in valueFrom.secretKeyRef, "
    "or let 'kubectl batchai' do that"
)
PATHS = "every relativeMountPath must be different and none may lie inside another"
PATH = "relativeMountPath must be a relative path without empty, '.' or '..' parts, such as 'logs' or 'data/mnist'"
SHARE_URL = "azureFileUrl must name one share, as https://<account>.file.core.windows.net/<share>"
NO_KEY = (
    "accountKey may not stand in a resource: put the key into a Secret and name it in secretRef, or let "
    "'kubectl batchai' do that"
)
CREDENTIALS = "credentials must have either secretRef or workloadIdentity"
VAULT_KEY = (
    "accountKeySecretReference is not enough: a mount's Secret has the account's name beside the key, and a Key Vault "
    "has the key alone: put both into a Secret and name it in secretRef"
)
NO_SOURCE = "names no Secret: setup tasks read Secrets of Kubernetes only, in valueFrom"
PREFIX = "stdOutErrPathPrefix must be an absolute path: begin it with '/' or, for a mount, with $AZ_BATCHAI_MOUNT_ROOT/"
SUB_PATH = "subPath must be a relative path without '..' parts, such as 'mnist/train'"
CONTAINER_NAME = "containerName must have 3 to 63 lower-case letters, digits and '-', and begin and end with no '-'"
IDENTIFIER = "id becomes the end of an environment variable's name: use letters, digits and '_' only"
DURATION = "maxWallClockTime must be a duration such as P7D, PT2H30M, 7.00:00:00 or '7 days, 0:00:00'"
BOUNDS = "maxWallClockTime must last from 1 second to 7 days"
TERMINATE = "terminate cannot be taken back: create a new Job to run it again"
IMMUTABLE = "the spec of this kind cannot be changed: delete the resource and create it again"
CLUSTER_FIELD = "{} cannot be changed, only scaleSettings can: delete the Cluster and create it again"
SERVER_FIELD = "{} cannot be changed, only reclaimPolicy can: delete the FileServer and create it again"
JOB_FIELD = "{} cannot be changed, only terminate can: create another Job"


def nested(path: str, value: Any) -> Object:
    """An object with one value at a dotted path."""
    for part in reversed(path.split(".")):
        value = {part: value}
    return value


def variables(kind: str, path: str) -> Iterator[Case]:
    """The rules on environment variables and secrets, which jobs and setup tasks have."""
    setup = SETUP if "setupTask" in path else {}

    def case(field: str, message: str, change: Object) -> Case:
        return Case(kind, f"{path}.{field}".rstrip("."), message, nested(path, {**setup, **change}))

    for field, entry in (("environmentVariables", {"name": "A", "value": "1"}), ("secrets", SECRET)):
        for name in ("1A", "A-B", ""):
            yield case(f"{field}[].name", VARIABLE, {field: [{**entry, "name": name}]})
        for name in ("AZ_BATCHAI_X", "BATCHAI_LAUNCH_X"):
            yield case(f"{field}[].name", RESERVED, {field: [{**entry, "name": name}]})
    yield case("secrets[].value", NO_SECRET, {"secrets": [{"name": "TOKEN", "value": "secret"}]})
    yield case("", BOTH, {"environmentVariables": [{"name": "TOKEN"}], "secrets": [SECRET]})


def mounts(kind: str, path: str) -> Iterator[Case]:
    """The rules on mountVolumes, which jobs and clusters have."""

    def case(field: str, message: str, change: Object) -> Case:
        return Case(kind, f"{path}.{field}".rstrip("."), message, nested(path, change))

    lists = {
        "azureFileShares": SHARE,
        "azureBlobFileSystems": CONTAINER,
        "fileServers": SERVER,
        "unmanagedFileSystems": UNMANAGED,
        "persistentVolumeClaims": CLAIM,
    }
    for field, entry in lists.items():
        for bad in ("/logs", "../logs", "a//b", "a/./b", "logs/"):
            yield case(f"{field}[].relativeMountPath", PATH, {field: [{**entry, "relativeMountPath": bad}]})
        for other in ("same", "same/inside"):
            first = {**UNMANAGED, "relativeMountPath": other}
            second = {**entry, "relativeMountPath": "same"}
            one_list = {field: [first, second]}
            two_lists = {"unmanagedFileSystems": [first], field: [second]}
            yield case("", PATHS, one_list if entry is UNMANAGED else two_lists)
    for field, entry in (("azureFileShares", SHARE), ("azureBlobFileSystems", CONTAINER)):
        with_key = {**entry, "credentials": {"accountKey": "a2V5"}}
        yield case(f"{field}[].credentials.accountKey", NO_KEY, {field: [with_key]})
        both = {"secretRef": {"name": "key"}, "workloadIdentity": {"clientId": "c"}}
        yield case(f"{field}[].credentials", CREDENTIALS, {field: [{**entry, "credentials": both}]})
        of_vault = {**entry, "credentials": {"accountKeySecretReference": IN_VAULT}}
        yield case(f"{field}[].credentials", VAULT_KEY, {field: [of_vault]})
    for sub_path in ("/a", "../a", "a/..", "a/../b"):
        change = {"persistentVolumeClaims": [{**CLAIM, "subPath": sub_path}]}
        yield case("persistentVolumeClaims[].subPath", SUB_PATH, change)
    for url in ("http://acc.file.core.windows.net/logs", "https://acc.file.core.windows.net", "https://a.b/logs/more"):
        yield case("azureFileShares[].azureFileUrl", SHARE_URL, {"azureFileShares": [{**SHARE, "azureFileUrl": url}]})
    for name in ("ab", "-data", "Data"):
        change = {"azureBlobFileSystems": [{**CONTAINER, "containerName": name}]}
        yield case("azureBlobFileSystems[].containerName", CONTAINER_NAME, change)


def cluster_cases() -> Iterator[Case]:
    for size in ("STANDARD_A0", "standard_gs5", "Standard_DS13_v2", "Standard_DS11-1_v2"):
        yield Case("Cluster", "spec.vmSize", VM_SIZE, nested("spec.vmSize", size))
    account = {"adminUserName": "me", "adminUserPassword": "secret"}
    for kind, path in (
        ("Cluster", "spec.userAccountSettings"),
        ("FileServer", "spec.sshConfiguration.userAccountSettings"),
    ):
        yield Case(kind, f"{path}.adminUserPassword", NO_PASSWORD, nested(path, account))
    scale = "spec.scaleSettings"
    automatic = {"minimumNodeCount": 1, "maximumNodeCount": 2}
    for settings in ({}, {"manual": {}, "autoScale": automatic}):
        yield Case("Cluster", scale, SCALE, nested(scale, settings))
    yield Case(
        "Cluster", f"{scale}.autoScale", MINIMUM, nested(scale, {"autoScale": {**automatic, "minimumNodeCount": 3}})
    )
    yield Case(
        "Cluster", f"{scale}.autoScale", INITIAL, nested(scale, {"autoScale": {**automatic, "initialNodeCount": 3}})
    )
    setup = "spec.nodeSetup.setupTask"
    for source in ({}, {"valueSecretReference": IN_VAULT}):
        task = {**SETUP, "secrets": [{"name": "TOKEN", **source}]}
        yield Case("Cluster", f"{setup}.secrets[]", NO_SOURCE, nested(setup, task))
    for prefix in ("logs", "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs", "$AZ_BATCHAI_MOUNT_ROOTS/logs"):
        task = {**SETUP, "stdOutErrPathPrefix": prefix}
        yield Case("Cluster", f"{setup}.stdOutErrPathPrefix", PREFIX, nested(setup, task))
    insights = "spec.nodeSetup.performanceCountersSettings.appInsightsReference"
    yield Case(
        "Cluster",
        f"{insights}.instrumentationKey",
        "instrumentationKey may not stand in a resource: leave it out, no counters are sent",
        nested(insights, {"component": {"id": "/c"}, "instrumentationKey": "secret"}),
    )


def job_cases() -> Iterator[Case]:
    def case(field: str, message: str, change: Object) -> Case:
        return Case("Job", f"spec.{field}".rstrip("."), message, {"spec": change})

    yield case("", ONE_TOOLKIT, {"customToolkitSettings": None})
    yield case("", ONE_TOOLKIT, {"customMpiSettings": {"commandLine": "true"}})
    script, configuration = {"pythonScriptFilePath": "a.py"}, {"configFilePath": "a.cntk"}
    for name in ("cntkSettings", "caffeSettings"):
        either = f"{name} must have either pythonScriptFilePath or configFilePath"
        interpreter = {**configuration, "pythonInterpreterPath": "python3"}
        for settings, message in (
            ({}, either),
            ({**script, **configuration}, either),
            (interpreter, f"{name}.pythonInterpreterPath needs pythonScriptFilePath"),
        ):
            yield case(name, message, {name: settings, "customToolkitSettings": None})
    language = "cntkSettings.languageType Python needs pythonScriptFilePath, BrainScript needs configFilePath"
    for settings in ({"languageType": "BrainScript", **script}, {"languageType": "python", **configuration}):
        yield case("cntkSettings", language, {"cntkSettings": settings, "customToolkitSettings": None})

    for field, entry in (("inputDirectories", {"id": "A", "path": "/a"}), ("outputDirectories", {"id": "A", **OUT})):
        yield case(field, f"{field} must have different ids", {field: [entry, entry]})
        yield case(f"{field}[].id", IDENTIFIER, {field: [{**entry, "id": "A-B"}]})
    yield case(
        "outputDirectories",
        "the output directory id 'stdouterr' is the job's own log directory: choose another",
        {"outputDirectories": [{"id": "stdouterr", **OUT}]},
    )
    registry = "containerSettings.imageSourceRegistry"
    with_password = {"image": "busybox", "credentials": {"username": "me", "password": "secret"}}
    yield case(
        f"{registry}.credentials.password",
        "password may not stand in a resource: make a Secret of type kubernetes.io/dockerconfigjson and name it in "
        "secretRef",
        nested(registry, with_password),
    )
    yield case(
        f"{registry}.credentials",
        "credentials must have secretRef, or username beside the password",
        nested(registry, {"image": "busybox", "credentials": {}}),
    )
    limit = "constraints.maxWallClockTime"
    for duration in ("PT", "P7DT", "7d", "7.00:00", "P1W", "1:5:00"):
        yield case(limit, DURATION, nested(limit, duration))
    for duration in ("P8D", "P6DT24H1S", "PT168H1S", "PT604801S", "7.00:00:01", "8 days, 0:00:00", "PT0S", "0:00:00"):
        yield case(limit, BOUNDS, nested(limit, duration))


OUT = {"pathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs"}
LONG = "x" * 64
NAMED = ("Workspace", "Experiment", "Cluster", "FileServer")
CREATED = [
    *(Case(kind, "", NAME, {"metadata": {"name": LONG}}) for kind in NAMED),
    Case("Job", "", JOB_NAME, {"metadata": {"name": "x" * 51}}),
    *variables("Job", "spec"),
    *variables("Cluster", "spec.nodeSetup.setupTask"),
    *mounts("Job", "spec.mountVolumes"),
    *mounts("Cluster", "spec.nodeSetup.mountVolumes"),
    *cluster_cases(),
    *job_cases(),
]

CLUSTER_CHANGES: Object = {
    "workspace": "other",
    "vmSize": "Standard_Other",
    "vmPriority": "lowpriority",
    "virtualMachineConfiguration": {},
    "nodeSetup": {"setupTask": SETUP},
    "userAccountSettings": {"adminUserName": "me"},
    "subnet": {"id": "/s"},
    "nodeSelector": {"a": "b"},
    "tolerations": [{"operator": "Exists"}],
    "rdmaResource": "rdma/hca",
    "sharedTempStorageClass": "shared",
    "nodeProvisioning": "none",
    "schedulerName": "other",
}
SERVER_CHANGES: Object = {
    "workspace": "other",
    "vmSize": "Standard_Other",
    "dataDisks": {"diskCount": 3},
    "sshConfiguration": {"userAccountSettings": {"adminUserName": "me"}},
    "subnet": {"id": "/s"},
}
JOB_CHANGES: Object = {
    "experiment": "other",
    "cluster": "other",
    "nodeCount": 2,
    "stdOutErrPathPrefix": "/elsewhere",
    "schedulingPriority": "high",
    "mountVolumes": {"azureFileShares": [SHARE]},
    "containerSettings": {"imageSourceRegistry": {"image": "busybox"}},
    "cntkSettings": {"pythonScriptFilePath": "a.py"},
    "pyTorchSettings": {"pythonScriptFilePath": "a.py"},
    "tensorFlowSettings": {"pythonScriptFilePath": "a.py"},
    "caffeSettings": {"pythonScriptFilePath": "a.py"},
    "caffe2Settings": {"pythonScriptFilePath": "a.py"},
    "chainerSettings": {"pythonScriptFilePath": "a.py"},
    "customToolkitSettings": {"commandLine": "false"},
    "customMpiSettings": {"commandLine": "true"},
    "horovodSettings": {"pythonScriptFilePath": "a.py"},
    "jobPreparation": {"commandLine": "true"},
    "inputDirectories": [{"id": "A", "path": "/a"}],
    "outputDirectories": [{"id": "A", **OUT}],
    "environmentVariables": [{"name": "A"}],
    "secrets": [SECRET],
    "constraints": {"maxWallClockTime": "P1D"},
    "terminationGracePeriodSeconds": 31,
    "peerTimeoutSeconds": 601,
    "podSecurity": "restricted",
    "retryPolicy": {"limit": 4},
}
PATCHED = [
    Case("Experiment", "spec", IMMUTABLE, {"spec": {"workspace": "other"}}),
    Case("Job", "spec", TERMINATE, {"spec": {"terminate": False}}),
    *(
        Case("Cluster", "spec", CLUSTER_FIELD.format(field), {"spec": {field: value}})
        for field, value in CLUSTER_CHANGES.items()
    ),
    *(
        Case("FileServer", "spec", SERVER_FIELD.format(field), {"spec": {field: value}})
        for field, value in SERVER_CHANGES.items()
    ),
    *(Case("Job", "spec", JOB_FIELD.format(field), {"spec": {field: value}}) for field, value in JOB_CHANGES.items()),
]


def rules(schema: Object, path: str = "") -> Iterator[tuple[str, str]]:
    """The path and the messages of every rule in a schema; one that names fields has a message for each."""
    for rule in schema.get("x-kubernetes-validations", ()):
        if (expression := rule.get("messageExpression")) is None:
            yield path, rule["message"]
            continue
        *fields, rest = re.findall(r"'([^']+)'", expression)
        for field in fields:
            yield path, f"{field}{rest}"
    for name, field in schema.get("properties", {}).items():
        yield from rules(field, f"{path}.{name}".lstrip("."))
    for key, suffix in (("items", "[]"), ("additionalProperties", ".*")):
        if key in schema:
            yield from rules(schema[key], f"{path}{suffix}")


def test_every_rule_has_a_case() -> None:
    written = {
        (crd["spec"]["names"]["kind"], *rule)
        for crd in CRDS
        for rule in rules(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    }
    assert written == {case[:3] for case in [*CREATED, *PATCHED]}


# --- the API server -----------------------------------------------------------------------------------------------


class Refused(Exception):  # noqa: N818 - what the tests look for
    """Why the API server did not admit an object: field and message of each cause."""

    def __init__(self, error: ApiException) -> None:
        status = json.loads(error.body)
        self.causes = {
            (re.sub(r"\[[0-9]+\]", "[]", cause["field"]), cause["message"])
            for cause in status.get("details", {}).get("causes", ())
        }
        super().__init__(status["message"])

    def says(self, field: str, message: str) -> bool:
        return any(where == (field or "<nil>") and what.endswith(message) for where, what in self.causes)


class Server:
    """The namespace of this module; what it creates and patches is a dry run unless it says otherwise."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self._api = client.CustomObjectsApi(config.new_client_from_config())

    def manifest(self, kind: str, change: Object) -> Object:
        base = {"metadata": {"name": "test"}, "spec": copy.deepcopy(SMALLEST[kind])}
        changed: Object = merged(base, change)
        return {"apiVersion": f"{GROUP}/{VERSION}", "kind": kind, **changed}

    def create(self, kind: str, change: Object, *, dry: bool = True) -> Object:
        place = (GROUP, VERSION, self.namespace, KINDS[kind])
        options = {"dry_run": "All"} if dry else {}
        try:
            created: Object = self._api.create_namespaced_custom_object(
                *place, self.manifest(kind, change), field_validation="Strict", **options
            )
        except ApiException as error:
            raise Refused(error) from error
        return created

    def patch(self, kind: str, name: str, change: Object, *, dry: bool = True) -> Object:
        place = (GROUP, VERSION, self.namespace, KINDS[kind], name)
        options = {"dry_run": "All"} if dry else {}
        try:
            patched: Object = self._api.patch_namespaced_custom_object(*place, change, **options)
        except ApiException as error:
            raise Refused(error) from error
        return patched


def merged(base: Any, change: Any) -> Any:
    """A JSON merge patch."""
    if not isinstance(change, dict):
        return change
    result = dict(base) if isinstance(base, dict) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> Iterator[Server]:
    namespace = f"validation-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", namespace)
    try:
        server = Server(cluster, namespace)
        for kind in SMALLEST:
            server.create(kind, {"metadata": {"name": "real"}}, dry=False)
        server.patch("Job", "real", {"spec": {"terminate": True}}, dry=False)
        yield server
    finally:
        cluster.kubectl("delete", "namespace", namespace, "--timeout=120s")


@pytest.mark.parametrize("case", CREATED, ids=lambda case: f"{case.kind}-{case.field}")
def test_a_broken_rule_is_named(server: Server, case: Case) -> None:
    with pytest.raises(Refused) as refused:
        server.create(case.kind, case.change)
    assert refused.value.says(case.field, case.message), refused.value


@pytest.mark.parametrize("case", PATCHED, ids=lambda case: f"{case.kind}-{case.message.split()[0]}")
def test_a_forbidden_change_is_named(server: Server, case: Case) -> None:
    with pytest.raises(Refused) as refused:
        server.patch(case.kind, "real", case.change)
    assert refused.value.says(case.field, case.message), refused.value


LIMITS = [
    ("Job", "spec.nodeCount", 0),
    ("Job", "spec.nodeCount", 10001),
    ("Job", "spec.nodeCount", "two"),
    ("Job", "spec.schedulingPriority", "urgent"),
    ("Job", "spec.experiment", ""),
    ("Job", "spec.terminationGracePeriodSeconds", -1),
    ("Job", "spec.containerSettings", {"imageSourceRegistry": {"image": "busybox"}, "shmSize": "16 gigabytes"}),
    ("Job", "spec.pyTorchSettings", {"pythonScriptFilePath": "a.py", "communicationBackend": "nccl"}),
    ("Job", "spec.cntkSettings", {"pythonScriptFilePath": "a.py", "processCount": 0}),
    ("Job", "spec.cntkSettings", {"pythonScriptFilePath": "a.py", "languageType": "R"}),
    ("Job", "spec.mountVolumes.azureFileShares", [{**SHARE, "fileMode": "0888"}]),
    ("Job", "spec.mountVolumes.persistentVolumeClaims", [{**CLAIM, "claimName": ""}]),
    ("Job", "spec.stdOutErrPathPrefix", None),
    ("Job", "spec.environmentVariables", [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]),
    ("Job", "spec.secrets", [SECRET, SECRET]),
    ("Cluster", "spec.vmPriority", "spot"),
    ("Cluster", "spec.scaleSettings.manual.targetNodeCount", -1),
    ("Cluster", "spec.scaleSettings.manual.nodeDeallocationOption", "wait"),
    ("Cluster", "spec.scaleSettings.autoScale", {"minimumNodeCount": 0}),
    ("FileServer", "spec.dataDisks.diskCount", 0),
    ("FileServer", "spec.dataDisks.storageAccountType", "Ultra"),
    ("Experiment", "spec.workspace", None),
    ("Workspace", "spec.location", 1),
]


@pytest.mark.parametrize(("kind", "path", "value"), LIMITS, ids=lambda part: str(part)[:40])
def test_a_value_out_of_its_limits_is_refused(server: Server, kind: str, path: str, value: Any) -> None:
    with pytest.raises(Refused) as refused:
        server.create(kind, nested(path, value))
    assert any(field.startswith(path) for field, _ in refused.value.causes), refused.value


MOUNTS = {
    "azureFileShares": [
        {
            **SHARE,
            "fileMode": "755",
            "credentials": {"secretRef": {"name": "key"}, "accountKeySecretReference": IN_VAULT},
        }
    ],
    "azureBlobFileSystems": [
        {
            **CONTAINER,
            "relativeMountPath": "data/mnist",
            "readOnly": True,
            "credentials": {"workloadIdentity": {"clientId": "c", "tenantId": "t"}},
        }
    ],
    "fileServers": [{**SERVER, "relativeMountPath": "data/mnist2", "sourceDirectory": "/x"}],
    "unmanagedFileSystems": [{**UNMANAGED, "relativeMountPath": "logs.d"}],
    "persistentVolumeClaims": [
        CLAIM,
        {**CLAIM, "subPath": "mnist/..a", "relativeMountPath": "mnist", "readOnly": True},
    ],
}
TASK = {**SETUP, "environmentVariables": [{"name": "A", "value": "1"}, {"name": "B"}], "secrets": [SECRET]}
GOOD: list[tuple[str, Object]] = [
    *((kind, {}) for kind in SMALLEST),
    *((kind, {"metadata": {"name": "x" * 63}}) for kind in NAMED),
    ("Job", {"metadata": {"name": "x" * 50}}),
    ("Workspace", {"spec": {"location": "eastus", "tags": {"a": "b"}}}),
    ("FileServer", nested("spec.sshConfiguration.userAccountSettings", {"adminUserName": "me"})),
    ("FileServer", nested("spec.vmSize", "Standard_DS14")),
    *(("Cluster", nested("spec.vmSize", size)) for size in ("Standard_A1", "STANDARD_D2s_v3", "standard_nc24rs_v3")),
    ("Cluster", nested("spec.scaleSettings.manual", {"targetNodeCount": 2, "nodeDeallocationOption": "terminate"})),
    (
        "Cluster",
        nested("spec.scaleSettings.autoScale", {"minimumNodeCount": 2, "maximumNodeCount": 2, "initialNodeCount": 2}),
    ),
    ("Cluster", nested("spec.nodeSetup", {"setupTask": TASK, "mountVolumes": MOUNTS})),
    *(
        ("Cluster", nested("spec.nodeSetup.setupTask", {**SETUP, "stdOutErrPathPrefix": prefix}))
        for prefix in ("/var/log", "$AZ_BATCHAI_MOUNT_ROOT", "${AZ_BATCHAI_MOUNT_ROOT}/logs")
    ),
    (
        "Job",
        {
            "spec": {
                "mountVolumes": MOUNTS,
                "containerSettings": {
                    "imageSourceRegistry": {
                        "image": "a/b:c",
                        "credentials": {"username": "me", "secretRef": {"name": "key"}},
                    },
                    "shmSize": "16gb",
                },
                "jobPreparation": {"commandLine": "true"},
                "inputDirectories": [{"id": "A", "path": "/a"}, {"id": "B_2", "path": "/a"}],
                "outputDirectories": [{"id": "A", **OUT}, {"id": "B_2", "pathSuffix": "x", **OUT}],
                "environmentVariables": TASK["environmentVariables"],
                "secrets": TASK["secrets"],
            }
        },
    ),
    (
        "Job",
        nested(
            "spec.containerSettings.imageSourceRegistry",
            {"image": "a/b:c", "credentials": {"secretRef": {"name": "key"}}},
        ),
    ),
    *(
        ("Job", {"spec": {"customToolkitSettings": None, name: settings}})
        for name, settings in {
            "cntkSettings": {"configFilePath": "a.cntk", "languageType": "BrainScript", "processCount": 2},
            "pyTorchSettings": {"pythonScriptFilePath": "a.py", "communicationBackend": "GLOO"},
            "tensorFlowSettings": {"pythonScriptFilePath": "a.py", "workerCount": 2, "parameterServerCount": 0},
            "caffeSettings": {"configFilePath": "a.prototxt"},
            "caffe2Settings": {"pythonScriptFilePath": "a.py", "pythonInterpreterPath": "python3"},
            "chainerSettings": {"pythonScriptFilePath": "a.py"},
            "customMpiSettings": {"commandLine": "true", "processCount": 4},
            "horovodSettings": {"pythonScriptFilePath": "a.py"},
        }.items()
    ),
    *(
        ("Job", {"spec": {"customToolkitSettings": None, name: {**settings, "pythonInterpreterPath": "python3"}}})
        for name, settings in {
            "cntkSettings": {"pythonScriptFilePath": "a.py", "languageType": "python"},
            "caffeSettings": {"pythonScriptFilePath": "a.py"},
        }.items()
    ),
    *(
        ("Job", nested("spec.constraints.maxWallClockTime", duration))
        for duration in ("P7D", "PT168H", "P6DT24H", "PT604800S", "PT1.5S", "7.00:00:00", "7 days, 0:00:00", "1:00:00")
    ),
]


@pytest.mark.parametrize(("kind", "change"), GOOD, ids=lambda part: str(part)[:60])
def test_a_valid_object_is_admitted(server: Server, kind: str, change: Object) -> None:
    server.create(kind, change)


def test_the_longest_lists_are_within_the_rules_budget(server: Server) -> None:
    def entries(count: int, entry: Object, key: str, length: int) -> list[Object]:
        return [{**entry, key: f"{index:x>{length}}"} for index in range(count)]

    lists = {
        "azureFileShares": SHARE,
        "azureBlobFileSystems": CONTAINER,
        "fileServers": SERVER,
        "unmanagedFileSystems": UNMANAGED,
        "persistentVolumeClaims": CLAIM,
    }
    server.create(
        "Job",
        {
            "spec": {
                "mountVolumes": {
                    name: [{**entry, "relativeMountPath": f"{name}-{index:0>200}"} for index in range(16)]
                    for name, entry in lists.items()
                },
                "inputDirectories": entries(64, {"path": "/a"}, "id", 128),
                "outputDirectories": entries(64, OUT, "id", 128),
                "environmentVariables": entries(512, {"value": "1"}, "name", 250),
                "secrets": entries(128, SECRET, "name", 256),
            }
        },
    )


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("Cluster", {"spec": {"scaleSettings": {"manual": {"targetNodeCount": 3}}}}),
        ("Job", {"spec": {"terminate": True}}),
        ("Job", {"spec": {"constraints": {"maxWallClockTime": "P7D"}}}),
        ("Job", {"metadata": {"labels": {"a": "b"}}}),
        ("Experiment", {"metadata": {"labels": {"a": "b"}}}),
        ("Workspace", {"spec": {"location": "westus"}}),
    ],
)
def test_an_allowed_change_is_admitted(server: Server, kind: str, change: Object) -> None:
    server.patch(kind, "real", change)


def test_an_unknown_field_is_named(server: Server) -> None:
    with pytest.raises(Refused, match=r'unknown field "spec\.nodesCount"'):
        server.create("Job", nested("spec.nodesCount", 1))


# --- kubectl ------------------------------------------------------------------------------------------------------


def test_nulls_in_optional_fields_are_absent(server: Server) -> None:
    """`az … show` prints every field; what it printed can be applied again."""
    cntk = {
        "languageType": "Python",
        "configFilePath": None,
        "pythonScriptFilePath": "a.py",
        "pythonInterpreterPath": None,
        "commandLineArgs": None,
        "processCount": None,
    }
    nulls: Object = {
        "customToolkitSettings": None,
        "caffeSettings": None,
        "mountVolumes": None,
        "secrets": None,
        "schedulingPriority": None,
        "constraints": {"maxWallClockTime": None},
    }
    manifest = server.manifest("Job", {"metadata": {"name": "nulls", "namespace": server.namespace}})
    manifest["spec"] |= {**nulls, "cntkSettings": cntk, "terminate": True}
    server.cluster.apply(manifest)
    spec = server.cluster.get("bjob", "nulls", server.namespace)["spec"]
    assert spec["cntkSettings"] == {"languageType": "Python", "pythonScriptFilePath": "a.py"}
    assert spec["schedulingPriority"] == "normal"
    assert spec["constraints"] == {"maxWallClockTime": "P7D"}
    assert not spec.keys() & {"customToolkitSettings", "caffeSettings", "mountVolumes", "secrets"}


def test_explain_says_what_fields_mean(server: Server) -> None:
    text = server.cluster.kubectl("explain", "bjob.spec.cntkSettings")
    assert "Runs CNTK." in text
    assert "BrainScript configuration file." in text
    for crd in CRDS:
        names = crd["spec"]["names"]
        assert f"KIND:       {names['kind']}\n" in server.cluster.kubectl("explain", f"{names['shortNames'][0]}.spec")


def test_the_category_lists_every_kind(server: Server) -> None:
    names = server.cluster.kubectl("get", "batchai", "-n", server.namespace, "-o", "name").split()
    assert {f"{crd['spec']['names']['singular']}.{GROUP}/real" for crd in CRDS} <= set(names)


@pytest.mark.parametrize(
    ("short", "kind"),
    [("bws", "Workspace"), ("bcluster", "Cluster"), ("bfs", "FileServer"), ("bexp", "Experiment"), ("bjob", "Job")],
)
def test_kinds_have_short_names_and_columns(server: Server, short: str, kind: str) -> None:
    assert server.cluster.get(short, "real", server.namespace)["kind"] == kind
    heading, row = server.cluster.kubectl("get", short, "real", "-n", server.namespace).splitlines()
    assert heading.startswith("NAME")
    assert heading.endswith("AGE")
    assert row.startswith("real")


def test_jobs_can_be_selected_by_cluster(server: Server) -> None:
    def names(selector: str) -> list[str]:
        return server.cluster.kubectl(
            "get", "bjob", "-n", server.namespace, "--field-selector", selector, "-o", "name"
        ).split()

    assert f"job.{GROUP}/real" in names("spec.cluster=absent")
    assert f"job.{GROUP}/real" in names("spec.experiment=exp")
    assert names("spec.cluster=other") == []


def test_scale_sets_the_target(server: Server) -> None:
    server.create("Cluster", {"metadata": {"name": "sized"}, **nested("spec.scaleSettings.manual", {})}, dry=False)
    place = ("-n", server.namespace)
    server.cluster.kubectl("scale", f"cluster.{GROUP}/sized", "--replicas=2", *place)
    settings = server.cluster.get("bcluster", "sized", server.namespace)["spec"]["scaleSettings"]
    assert settings["manual"] == {"targetNodeCount": 2, "nodeDeallocationOption": "requeue"}
