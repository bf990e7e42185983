"""A cluster's config file and the options of `cluster create` as a Cluster's spec."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchai.api.cluster import ClusterSpec
from batchai.cli import autostorage, configfile, mounts, secrets, ssh
from batchai.cli.accounts import Given
from batchai.cli.configfile import Properties
from batchai.cli.kube import Object
from batchai.cli.problems import UsageProblem
from batchai.cli.scaling import image_reference, scale_settings


@dataclass(frozen=True)
class ClusterFile:
    """The properties of a cluster, completed, still with the storage keys that stood in the file.

    source: the file's name, for messages; warnings: sentences for the user.
    """

    source: str
    properties: Properties = field(repr=False)
    warnings: Sequence[str] = ()

    @property
    def keys(self) -> dict[str, str | None]:
        """The storage accounts whose keys the nodes need, with the key that stood in the file, if one did."""
        return mounts.inline_keys(self.properties.get("nodeSetup", {}).get("mountVolumes", {}))

    def secrets(self, cluster: str, namespace: str) -> list[Object]:
        """The Secrets that the cluster of this Kubernetes name needs for itself."""
        task = self.properties.get("nodeSetup", {}).get("setupTask", {})
        values = secrets.values(task.get("secrets"))
        return [secrets.opaque(f"{cluster}-secrets", namespace, values)] if values else []

    def spec(self, *, cluster: str, workspace: str, accounts: Mapping[str, str]) -> Properties:
        """The Cluster's spec: Kubernetes names of cluster and workspace, Secrets in the place of values.

        `accounts`: storage account → Secret.

        Raises UsageProblem with file and field for what a cluster cannot be.
        """
        spec = {**self.properties, "workspace": workspace}
        setup = dict(spec.get("nodeSetup", {}))
        if "mountVolumes" in setup:
            setup["mountVolumes"] = mounts.with_secrets(setup["mountVolumes"], accounts)
        if "secrets" in setup.get("setupTask", {}):
            task = setup["setupTask"]
            setup["setupTask"] = {
                **task,
                "secrets": secrets.referring(task["secrets"], f"{cluster}-secrets"),
            }
        if setup:
            spec["nodeSetup"] = setup
        return spec


def read(options: Mapping[str, Any], given: Given, current_user: Callable[[], str]) -> ClusterFile:
    """The file of -f, if there is one, under what the options say (Batch AI reference §8).

    Raises UsageProblem for what it cannot read, for what no cluster can be, and for one without size.
    """
    source = options["config_file"]
    properties = configfile.read(source) if source else {}
    unknown = list(configfile.unknown_fields(ClusterSpec, properties, "properties"))
    warnings = [f"{source}: ignored, as unknown: {', '.join(unknown)}."] if unknown else []
    configfile.check_shape(ClusterSpec, properties, f"{source}: properties")
    setup, left_out = _without_instrumentation_key(properties.get("nodeSetup", {}))
    administrator, said = ssh.administrator(properties.get("userAccountSettings", {}), options, current_user)
    settings = {
        "vmSize": options["vm_size"],
        "vmPriority": options["vm_priority"],
        "scaleSettings": scale_settings(options["target"], options["min"], options["max"]),
        "subnet": {"id": options["subnet"]} if options["subnet"] else None,
        "userAccountSettings": administrator,
        "nodeSetup": _node_setup(setup, options, given, source or "options"),
    }
    properties = {**properties, **{name: value for name, value in settings.items() if value}}
    image = image_reference(options["image"], options["custom_image"])
    if image:
        properties["virtualMachineConfiguration"] = {"imageReference": image}
    for name, remedy in (
        ("vmSize", "Give --vm-size."),
        ("scaleSettings", "Give --target, or --min and --max."),
    ):
        if name not in properties:
            raise UsageProblem(f"the cluster has no {name}.", remedy)
    configfile.check(ClusterSpec, {**properties, "workspace": "w"}, source or "options")
    return ClusterFile(source or "options", properties, [*warnings, *left_out, *said])


def _without_instrumentation_key(setup: Properties) -> tuple[Properties, list[str]]:
    """nodeSetup without the key of Application Insights, which no resource may hold, and what to tell of it."""
    counters = setup.get("performanceCountersSettings", {})
    receiver = counters.get("appInsightsReference", {})
    if "instrumentationKey" not in receiver:
        return setup, []
    receiver = secrets.without_key(receiver, "instrumentationKey")
    told = "the instrumentationKey of Application Insights is not kept: no counters are sent there."
    return {**setup, "performanceCountersSettings": {**counters, "appInsightsReference": receiver}}, [told]


def _node_setup(setup: Properties, options: Mapping[str, Any], given: Given, source: str) -> Properties:
    if options["setup_task"]:
        if not options["setup_task_output"]:
            raise UsageProblem("--setup-task needs --setup-task-output.", "Say where its output goes.")
        task = {"commandLine": options["setup_task"], "stdOutErrPathPrefix": options["setup_task_output"]}
        setup = {**setup, "setupTask": {**setup.get("setupTask", {}), **task}}
    place = f"{source}: properties.nodeSetup.mountVolumes"
    volumes = mounts.combine(setup.get("mountVolumes", {}), options, given, place)
    if options["use_auto_storage"]:
        volumes = {**volumes, mounts.CLAIMS: [*volumes.get(mounts.CLAIMS, []), *autostorage.mounts()]}
    return {**setup, "mountVolumes": volumes} if volumes else setup
