"""Cluster: the nodes that jobs run on, and their queue (Batch AI reference §1.2)."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from batchai.api.base import Model, ObjectMeta
from batchai.api.job import VARIABLES_RULE, CommandLine, EnvironmentSecret, EnvironmentVariables, JobError, Path
from batchai.api.mounts import MOUNT_VOLUMES_RULE, KeyVaultSecretReference, MountVolumes, ResourceId
from batchai.api.schema import Rule, keyed, text
from batchai.api.workspace import ProvisioningStatus

NodeCount = Annotated[int, Field(ge=0, le=10000)]


class ManualScaleSettings(Model):
    """A fixed number of nodes."""

    target_node_count: NodeCount = Field(default=0, description="Nodes wanted. Default 0.")
    node_deallocation_option: Literal["requeue", "terminate", "waitforjobcompletion"] = Field(
        default="requeue", description="What happens to the jobs of nodes that leave. Default requeue."
    )


class AutoScaleSettings(Model):
    """A number of nodes that follows the queue."""

    minimum_node_count: NodeCount = Field(description="Nodes to keep.")
    maximum_node_count: NodeCount = Field(description="Nodes at most.")
    initial_node_count: NodeCount = Field(
        default=0, description="Nodes from the creation until the first job has started. Default 0."
    )
    idle_timeout_seconds: Annotated[int, Field(ge=0, le=604800)] = Field(
        default=0,
        description="How long nodes that no job needs are kept. Default 0: they are given back at once, as the "
        "service did.",
    )


class ScaleSettings(Model):
    """How many nodes the cluster has."""

    manual: ManualScaleSettings | None = Field(default=None, description="A fixed number.")
    auto_scale: (
        Annotated[
            AutoScaleSettings,
            Rule(
                "self.minimumNodeCount <= self.maximumNodeCount",
                "autoScale.minimumNodeCount must not be greater than maximumNodeCount",
            ),
            Rule(
                "self.initialNodeCount <= self.maximumNodeCount",
                "autoScale.initialNodeCount must not be greater than maximumNodeCount",
            ),
        ]
        | None
    ) = Field(default=None, description="Follows the queue between two bounds.")


class ImageReference(Model):
    """A VM image; on Kubernetes it chooses nothing and is kept as it was given."""

    publisher: Annotated[str, text(maximum=256)] = Field(description="Publisher of the image.")
    offer: Annotated[str, text(maximum=256)] = Field(description="Offer of the image.")
    sku: Annotated[str, text(maximum=256)] = Field(description="SKU of the image.")
    version: Annotated[str, text(maximum=256)] = Field(default="latest", description="Version. Default latest.")
    virtual_machine_image_id: Annotated[str, text(maximum=1024)] | None = Field(
        default=None, description="Azure resource id of a custom image."
    )


class VirtualMachineConfiguration(Model):
    """The nodes' operating system."""

    image_reference: ImageReference | None = Field(default=None, description="VM image.")


class SetupTask(Model):
    """What runs once on each node before it takes jobs."""

    command_line: CommandLine = Field(description="Command line, as shell text; runs again after a reboot.")
    std_out_err_path_prefix: Annotated[
        Path,
        Rule(
            r"self.matches(r'^(/|[$]([{]AZ_BATCHAI_MOUNT_ROOT[}]|AZ_BATCHAI_MOUNT_ROOT\b))')",
            "stdOutErrPathPrefix must be an absolute path: begin it with '/' or, for a mount, with "
            "$AZ_BATCHAI_MOUNT_ROOT/",
        ),
    ] = Field(description="Where its logs go, on a mount.")
    environment_variables: EnvironmentVariables | None = Field(default=None, description="Variables of the task.")
    secrets: (
        Annotated[
            list[
                Annotated[
                    EnvironmentSecret,
                    # A value that stands in the resource has a sentence of its own.
                    Rule(
                        "has(self.valueFrom) || has(self.value)",
                        "names no Secret: setup tasks read Secrets of Kubernetes only, in valueFrom",
                    ),
                ]
            ],
            Field(max_length=128),
            keyed("name"),
        ]
        | None
    ) = Field(default=None, description="Variables of the task with secret values.")


class AppInsightsReference(Model):
    """An Azure Application Insights component."""

    component: ResourceId = Field(description="The component.")
    instrumentation_key: (
        Annotated[
            str,
            text(maximum=256),
            Rule(
                "false",
                "instrumentationKey may not stand in a resource: leave it out, no counters are sent",
            ),
        ]
        | None
    ) = Field(default=None, description="Refused: a key does not belong into a resource.")
    instrumentation_key_secret_reference: KeyVaultSecretReference | None = Field(
        default=None, description="The key in an Azure Key Vault."
    )


class PerformanceCountersSettings(Model):
    """Where node performance counters are sent."""

    app_insights_reference: AppInsightsReference = Field(description="The receiver.")


class NodeSetup(Model):
    """How nodes are made ready."""

    setup_task: Annotated[SetupTask, VARIABLES_RULE] | None = Field(default=None, description="Runs once on each node.")
    mount_volumes: Annotated[MountVolumes, MOUNT_VOLUMES_RULE] | None = Field(
        default=None, description="File systems mounted under $AZ_BATCHAI_MOUNT_ROOT for every job."
    )
    performance_counters_settings: PerformanceCountersSettings | None = Field(
        default=None, description="Where performance counters are sent."
    )


class UserAccountSettings(Model):
    """The administrator of the service's VMs; Kubernetes nodes get no accounts, the fields are kept."""

    admin_user_name: Annotated[str, text(maximum=64, minimum=1)] = Field(description="Name of the account.")
    admin_user_ssh_public_key: Annotated[str, text(maximum=16384)] | None = Field(
        default=None, description="SSH public key."
    )
    admin_user_password: (
        Annotated[
            str,
            text(maximum=256),
            Rule(
                "false",
                "adminUserPassword may not stand in a resource: leave it out, nodes get no accounts",
            ),
        ]
        | None
    ) = Field(default=None, description="Refused: a password does not belong into a resource.")


class Toleration(Model):
    """A Kubernetes toleration."""

    key: str | None = Field(default=None, description="Taint key; absent matches all.")
    operator: Literal["Exists", "Equal"] | None = Field(default=None, description="Default Equal.")
    value: str | None = Field(default=None, description="Taint value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Taint effect; absent matches all."
    )
    toleration_seconds: int | None = Field(default=None, description="For NoExecute: how long. Default: for ever.")


class ClusterSpec(Model):
    """Which nodes, how many, and how they are set up."""

    workspace: Annotated[str, text(maximum=63, minimum=1)] = Field(
        description="The Workspace in the same namespace that the cluster belongs to."
    )
    vm_size: Annotated[
        str,
        text(maximum=63, minimum=1),
        Rule(
            "!self.matches('(?i)^standard_(a0|[dg]s[0-9].*)$')",
            "vmSize may not be STANDARD_A0 or of the families GS, DS and DSv2: choose another, such as Standard_NC6",
        ),
    ] = Field(description="Nodes whose label node.kubernetes.io/instance-type is this, in any case, belong to it.")
    vm_priority: Literal["dedicated", "lowpriority"] = Field(
        default="dedicated", description="lowpriority means spot nodes. Default dedicated."
    )
    scale_settings: (
        Annotated[
            ScaleSettings,
            Rule(
                "has(self.manual) != has(self.autoScale)",
                "scaleSettings must have either manual or autoScale",
            ),
        ]
        | None
    ) = Field(default=None, description="How many nodes. Default: none.")
    virtual_machine_configuration: VirtualMachineConfiguration | None = Field(
        default=None, description="The nodes' operating system."
    )
    node_setup: NodeSetup | None = Field(default=None, description="How nodes are made ready.")
    user_account_settings: UserAccountSettings | None = Field(default=None, description="Administrator of the nodes.")
    subnet: ResourceId | None = Field(default=None, description="Subnet of the nodes; kept, not used.")
    node_selector: dict[str, str] | None = Field(
        default=None, description="Labels that nodes must carry besides their size."
    )
    tolerations: Annotated[list[Toleration], Field(max_length=64)] | None = Field(
        default=None, description="Tolerations of the jobs' pods."
    )
    node_provisioning: Literal["placeholders", "capacityBuffer", "none"] = Field(
        default="placeholders",
        description="How an autoscaler learns that nodes are missing: by a pending placeholder pod for each, the "
        "default, by a CapacityBuffer where Kubernetes knows that resource, or not at all.",
    )
    scheduler_name: Annotated[str, text(maximum=253, minimum=1)] | None = Field(
        default=None, description="The scheduler of all pods of the cluster and its jobs. Default: Kubernetes' own."
    )
    rdma_resource: Annotated[str, text(maximum=253, minimum=1)] | None = Field(
        default=None,
        description="Resource of the RDMA device plugin, such as rdma/hca: every job pod gets one and may lock memory.",
    )
    shared_temp_storage_class: Annotated[str, text(maximum=253, minimum=1)] | None = Field(
        default=None,
        description="StorageClass of the ReadWriteMany claim that a job's nodes share when no Azure file share does.",
    )

    @property
    def shared_volumes(self) -> MountVolumes | None:
        """nodeSetup.mountVolumes: what every job of the cluster sees."""
        return self.node_setup.mount_volumes if self.node_setup else None


class NodeStateCounts(Model):
    """Nodes by state."""

    idle_node_count: int = Field(default=0, description="Ready for a job.")
    running_node_count: int = Field(default=0, description="Running a job.")
    preparing_node_count: int = Field(default=0, description="Being made ready.")
    unusable_node_count: int = Field(default=0, description="Cannot run jobs.")
    leaving_node_count: int = Field(default=0, description="Given back as soon as their job has ended.")


class SetupTaskStatus(Model):
    """Where a setup task writes."""

    std_out_err_path_suffix: str = Field(description="The part of its log path that is the cluster's own.")


class NodeSetupStatus(Model):
    """What follows from nodeSetup."""

    setup_task: SetupTaskStatus = Field(description="The setup task.")


class ClusterStatus(ProvisioningStatus):
    """What the operator observed."""

    allocation_state: Literal["steady", "resizing"] | None = Field(
        default=None, description="resizing while nodes come or go."
    )
    allocation_state_transition_time: datetime | None = Field(
        default=None, description="When the allocation state changed last."
    )
    target_node_count: int | None = Field(default=None, description="Nodes that are wanted by the settings or by jobs.")
    current_node_count: int | None = Field(default=None, description="Nodes that the cluster has.")
    node_state_counts: NodeStateCounts | None = Field(default=None, description="Nodes by state.")
    errors: list[JobError] | None = Field(
        default=None, description="What is wrong with nodes or scaling; of many the first 20."
    )
    node_setup: NodeSetupStatus | None = Field(default=None, description="What follows from nodeSetup.")
    first_job_time: datetime | None = Field(
        default=None, description="When the first job got nodes; initialNodeCount counts until then."
    )
    idle_since: datetime | None = Field(
        default=None, description="Since when an autoscaled cluster has more nodes than its jobs need."
    )


class Cluster(Model):
    """A set of whole nodes with a queue in front."""

    metadata: ObjectMeta
    spec: ClusterSpec
    status: ClusterStatus = ClusterStatus()
