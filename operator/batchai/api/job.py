"""Job: one training run (Batch AI reference §1.5, §3, §6)."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from batchai.api.base import Conditions, Model, ObjectMeta
from batchai.api.durations import CEL_IN_BOUNDS, CEL_IS_DURATION
from batchai.api.mounts import MOUNT_VOLUMES_RULE, KeyVaultSecretReference, MountVolumes, SecretReference
from batchai.api.schema import Rule, keyed, text
from batchai.errors import SpecError

Path = Annotated[str, text(maximum=4096, minimum=1)]
CommandLine = Annotated[str, text(maximum=65536, minimum=1)]
Arguments = Annotated[str, text(maximum=65536)]
ProcessCount = Annotated[int, Field(ge=1, le=10000)]
Identifier = Annotated[
    str,
    text(maximum=128),
    Rule(
        "self.matches('^[A-Za-z0-9_]+$')",
        "id becomes the end of an environment variable's name: use letters, digits and '_' only",
    ),
]
VariableName = Annotated[
    str,
    text(maximum=256),
    Rule(
        "self.matches('^[A-Za-z_][A-Za-z0-9_]*$')",
        "name must be an environment variable's name: letters, digits and '_', not beginning with a digit",
    ),
    Rule(
        "!self.startsWith('AZ_BATCHAI_') && !self.startsWith('BATCHAI_LAUNCH_')",
        "names that begin with AZ_BATCHAI_ or BATCHAI_LAUNCH_ are set by the operator: choose another",
    ),
]


class CntkSettings(Model):
    """Microsoft Cognitive Toolkit."""

    language_type: Annotated[str, text(maximum=11, pattern="(?i)^(brainscript|python)$")] | None = Field(
        default=None,
        description="BrainScript or Python in any case. Default: Python with pythonScriptFilePath, BrainScript with "
        "configFilePath.",
    )
    config_file_path: Path | None = Field(default=None, description="BrainScript configuration file.")
    python_script_file_path: Path | None = Field(default=None, description="Python script.")
    python_interpreter_path: Path | None = Field(
        default=None, description="Python to run the script with. Default: python on the PATH."
    )
    command_line_args: Arguments | None = Field(default=None, description="Arguments, as shell text.")
    process_count: ProcessCount | None = Field(
        default=None,
        description="Processes over all nodes, started by mpirun if more than one. Default: nodeCount.",
    )


class PythonScriptSettings(Model):
    """A Python script with its arguments: what most toolkits' settings have in common."""

    python_script_file_path: Path = Field(description="Python script.")
    python_interpreter_path: Path | None = Field(
        default=None, description="Python to run the script with. Default: python on the PATH."
    )
    command_line_args: Arguments | None = Field(default=None, description="Arguments, as shell text.")


class ScriptProcessesSettings(PythonScriptSettings):
    """The same in several processes."""

    process_count: ProcessCount | None = Field(
        default=None, description="Processes over all nodes. Default: nodeCount."
    )


class PyTorchSettings(ScriptProcessesSettings):
    """PyTorch."""

    communication_backend: Annotated[str, text(maximum=4, pattern="(?i)^(tcp|gloo|mpi)$")] | None = Field(
        default=None, description="TCP, Gloo or MPI in any case; distributed jobs need it."
    )


class TensorFlowSettings(Model):
    """TensorFlow: a single process, or parameter servers and workers."""

    python_script_file_path: Path = Field(description="Python script.")
    python_interpreter_path: Path | None = Field(
        default=None, description="Python to run the script with. Default: python on the PATH."
    )
    master_command_line_args: Arguments | None = Field(
        default=None, description="Arguments of the master, worker 0, as shell text."
    )
    worker_command_line_args: Arguments | None = Field(
        default=None, description="Arguments of the other workers, as shell text."
    )
    parameter_server_command_line_args: Arguments | None = Field(
        default=None, description="Arguments of the parameter servers, as shell text."
    )
    worker_count: ProcessCount | None = Field(default=None, description="Workers. Default: nodeCount.")
    parameter_server_count: Annotated[int, Field(ge=0, le=10000)] | None = Field(
        default=None, description="Parameter servers, at most one per node. Default: 1 in a distributed job."
    )
    chief: bool = Field(
        default=False,
        description="Whether TF_CONFIG names worker 0 as chief, as tf.estimator wants it. Default: as the service did.",
    )


class CaffeSettings(Model):
    """Caffe."""

    config_file_path: Path | None = Field(default=None, description="Solver configuration file.")
    python_script_file_path: Path | None = Field(default=None, description="Python script.")
    python_interpreter_path: Path | None = Field(
        default=None, description="Python to run the script with. Default: python on the PATH."
    )
    command_line_args: Arguments | None = Field(default=None, description="Arguments, as shell text.")
    process_count: ProcessCount | None = Field(
        default=None, description="Processes over all nodes. Default: nodeCount."
    )


class Caffe2Settings(PythonScriptSettings):
    """Caffe2: one process per node."""


class ChainerSettings(ScriptProcessesSettings):
    """Chainer."""


class HorovodSettings(ScriptProcessesSettings):
    """Horovod."""


class CustomMpiSettings(Model):
    """A command line that mpirun starts in every process."""

    command_line: CommandLine = Field(description="Command line of every process, as shell text.")
    process_count: ProcessCount | None = Field(
        default=None, description="Processes over all nodes. Default: nodeCount."
    )


class CustomToolkitSettings(Model):
    """A command line that runs once, on the job's first node."""

    command_line: CommandLine = Field(description="Command line, as shell text.")


class RegistryCredentials(Model):
    """Who may pull the image."""

    username: Annotated[str, text(maximum=256)] | None = Field(
        default=None, description="User of the registry; the Secret of secretRef names its own."
    )
    secret_ref: SecretReference | None = Field(
        default=None, description="Secret of type kubernetes.io/dockerconfigjson in the namespace."
    )
    password: (
        Annotated[
            str,
            text(maximum=1024),
            Rule(
                "false",
                "password may not stand in a resource: make a Secret of type kubernetes.io/dockerconfigjson and name "
                "it in secretRef",
            ),
        ]
        | None
    ) = Field(default=None, description="Refused: a password does not belong into a resource.")
    password_secret_reference: KeyVaultSecretReference | None = Field(
        default=None, description="The password in an Azure Key Vault."
    )


class ImageSourceRegistry(Model):
    """Where the job's image comes from."""

    server_url: Annotated[str, text(maximum=1024)] | None = Field(
        default=None, description="Registry. Default: what the image's name says."
    )
    image: Annotated[str, text(maximum=1024, minimum=1)] = Field(description="Name of the image.")
    credentials: (
        Annotated[
            RegistryCredentials,
            Rule(
                "has(self.secretRef) || has(self.username)",
                "credentials must have secretRef, or username beside the password",
            ),
        ]
        | None
    ) = Field(default=None, description="For private registries.")


class ContainerSettings(Model):
    """The container that the job runs in."""

    image_source_registry: ImageSourceRegistry = Field(description="The job's image.")
    shm_size: Annotated[str, text(maximum=16, pattern="^[0-9]+ ?[bBkKmMgGtT]?[bB]?$")] | None = Field(
        default=None,
        description="Size of /dev/shm as Docker writes it, such as 16gb. Default: the runtime's.",
    )


class JobPreparation(Model):
    """What runs on every node before the toolkit."""

    command_line: CommandLine = Field(description="Command line, as shell text.")


class InputDirectory(Model):
    """A path that the job reads."""

    id: Identifier = Field(description="The job finds the path in AZ_BATCHAI_INPUT_<id>.")
    path: Path = Field(description="The path; $AZ_BATCHAI_… and the job's own variables are expanded.")


class OutputDirectory(Model):
    """A directory that is made for the job to write to."""

    id: Identifier = Field(description="The job finds the directory in AZ_BATCHAI_OUTPUT_<id>.")
    path_prefix: Path = Field(description="Where the job's own directory tree begins, on a mount.")
    path_suffix: Annotated[str, text(maximum=1024)] | None = Field(
        default=None, description="Further path below the job's outputs directory."
    )


class EnvironmentVariable(Model):
    """A variable of the job's processes."""

    name: VariableName = Field(description="Name of the variable.")
    value: Annotated[str, text(maximum=32768)] | None = Field(
        default=None, description="Its value, taken literally. Default: empty."
    )


class SecretKeySelector(Model):
    """One key of a Secret in the namespace."""

    name: Annotated[str, text(maximum=253, minimum=1)] = Field(description="Name of the Secret.")
    key: Annotated[str, text(maximum=253, minimum=1)] = Field(description="The key in it.")


class SecretSource(Model):
    """Where a secret's value is."""

    secret_key_ref: SecretKeySelector = Field(description="A key of a Secret.")


class EnvironmentSecret(Model):
    """A variable of the job's processes whose value is secret."""

    name: VariableName = Field(description="Name of the variable.")
    value_from: SecretSource | None = Field(default=None, description="The Secret that holds the value.")
    value: (
        Annotated[
            str,
            text(maximum=32768),
            Rule(
                "false",
                "a secret's value may not stand in a resource: put it into a Secret and name it in "
                "valueFrom.secretKeyRef, or let 'kubectl batchai' do that",
            ),
        ]
        | None
    ) = Field(default=None, description="Refused: a secret does not belong into a resource.")
    value_secret_reference: KeyVaultSecretReference | None = Field(
        default=None, description="The value in an Azure Key Vault."
    )


EnvironmentVariables = Annotated[list[EnvironmentVariable], Field(max_length=512), keyed("name")]
EnvironmentSecrets = Annotated[list[EnvironmentSecret], Field(max_length=128), keyed("name")]
VARIABLES_RULE = Rule(
    "!has(self.environmentVariables) || !has(self.secrets) || "
    "!sets.intersects(self.secrets.map(a, a.name), self.environmentVariables.map(a, a.name))",
    "environmentVariables and secrets must not have the same name",
)


class Constraints(Model):
    """Limits of the job."""

    max_wall_clock_time: Annotated[
        str,
        text(maximum=32, minimum=2),
        Rule(
            CEL_IS_DURATION,
            "maxWallClockTime must be a duration such as P7D, PT2H30M, 7.00:00:00 or '7 days, 0:00:00'",
        ),
        Rule(CEL_IN_BOUNDS, "maxWallClockTime must last from 1 second to 7 days"),
    ] = Field(default="P7D", description="How long the job may run; at most, and by default, 7 days.")


class ExitCodeRule(Model):
    """What exit codes of the job's processes mean."""

    exit_codes: Annotated[list[Annotated[int, Field(ge=1, le=255)]], Field(max_length=255)] = Field(
        description="Exit codes of the process that decides the job's result."
    )
    action: Literal["fail", "retry", "succeed"] = Field(
        description="fail ends the job, retry starts another attempt, succeed counts as success."
    )


class RetryPolicy(Model):
    """When another attempt is made."""

    limit: Annotated[int, Field(ge=0, le=100)] = Field(
        default=3, description="Attempts after the first one. Faults of nodes use them up, too. Default 3."
    )
    rules: Annotated[list[ExitCodeRule], Field(max_length=16)] | None = Field(
        default=None,
        description="The first rule that has the exit code decides; without one, a non-zero exit code fails the job.",
    )


TOOLKITS = {
    "cntkSettings": "cntk",
    "pyTorchSettings": "pytorch",
    "tensorFlowSettings": "tensorflow",
    "caffeSettings": "caffe",
    "caffe2Settings": "caffe2",
    "chainerSettings": "chainer",
    "customToolkitSettings": "custom",
    "customMpiSettings": "mpi",
    "horovodSettings": "horovod",
}
"""Settings field → toolType (reference §1.5)."""

_SCRIPT_OR_CONFIG = "has(self.configFilePath) != has(self.pythonScriptFilePath)"


class JobSpec(Model):
    """What to run, where, and with which files."""

    experiment: Annotated[str, text(maximum=63, minimum=1)] = Field(
        description="The Experiment in the same namespace that the job belongs to."
    )
    cluster: Annotated[str, text(maximum=63, minimum=1)] = Field(
        description="The Cluster in the same namespace whose nodes the job runs on."
    )
    node_count: Annotated[int, Field(ge=1, le=10000)] = Field(
        description="Nodes; the job gets all of them at once, each whole."
    )
    std_out_err_path_prefix: Path = Field(
        description="Where the job's stdouterr directory is made, usually $AZ_BATCHAI_JOB_MOUNT_ROOT/<mount>."
    )
    scheduling_priority: Literal["low", "normal", "high"] = Field(
        default="normal", description="Place in the cluster's queue. Default normal."
    )
    mount_volumes: Annotated[MountVolumes, MOUNT_VOLUMES_RULE] | None = Field(
        default=None, description="File systems mounted under $AZ_BATCHAI_JOB_MOUNT_ROOT."
    )
    container_settings: ContainerSettings | None = Field(
        default=None, description="The job's image. Default: the toolkit's image of the operator."
    )
    cntk_settings: (
        Annotated[
            CntkSettings,
            Rule(_SCRIPT_OR_CONFIG, "cntkSettings must have either pythonScriptFilePath or configFilePath"),
            Rule(
                "!has(self.languageType) || (self.languageType.lowerAscii() == 'python') == "
                "has(self.pythonScriptFilePath)",
                "cntkSettings.languageType Python needs pythonScriptFilePath, BrainScript needs configFilePath",
            ),
            Rule(
                "!has(self.pythonInterpreterPath) || has(self.pythonScriptFilePath)",
                "cntkSettings.pythonInterpreterPath needs pythonScriptFilePath",
            ),
        ]
        | None
    ) = Field(default=None, description="Runs CNTK.")
    py_torch_settings: PyTorchSettings | None = Field(default=None, description="Runs PyTorch.")
    tensor_flow_settings: TensorFlowSettings | None = Field(default=None, description="Runs TensorFlow.")
    caffe_settings: (
        Annotated[
            CaffeSettings,
            Rule(_SCRIPT_OR_CONFIG, "caffeSettings must have either pythonScriptFilePath or configFilePath"),
            Rule(
                "!has(self.pythonInterpreterPath) || has(self.pythonScriptFilePath)",
                "caffeSettings.pythonInterpreterPath needs pythonScriptFilePath",
            ),
        ]
        | None
    ) = Field(default=None, description="Runs Caffe.")
    caffe2_settings: Caffe2Settings | None = Field(default=None, description="Runs Caffe2.")
    chainer_settings: ChainerSettings | None = Field(default=None, description="Runs Chainer.")
    custom_toolkit_settings: CustomToolkitSettings | None = Field(
        default=None, description="Runs a command line on the first node."
    )
    custom_mpi_settings: CustomMpiSettings | None = Field(
        default=None, description="Runs a command line in MPI processes."
    )
    horovod_settings: HorovodSettings | None = Field(default=None, description="Runs Horovod.")
    job_preparation: JobPreparation | None = Field(
        default=None, description="Runs on every node before the toolkit, in the job's container."
    )
    input_directories: (
        Annotated[
            list[InputDirectory],
            Field(max_length=64),
            Rule("self.all(a, self.exists_one(b, a.id == b.id))", "inputDirectories must have different ids"),
        ]
        | None
    ) = Field(default=None, description="Paths that the job reads.")
    output_directories: (
        Annotated[
            list[OutputDirectory],
            Field(max_length=64),
            Rule("self.all(a, self.exists_one(b, a.id == b.id))", "outputDirectories must have different ids"),
            Rule(
                "self.all(a, a.id != 'stdouterr')",
                "the output directory id 'stdouterr' is the job's own log directory: choose another",
            ),
        ]
        | None
    ) = Field(default=None, description="Directories made for the job to write to.")
    environment_variables: EnvironmentVariables | None = Field(
        default=None, description="Variables of the job's processes."
    )
    secrets: EnvironmentSecrets | None = Field(
        default=None, description="Variables of the job's processes with secret values."
    )
    constraints: Constraints = Field(default=Constraints(), description="Limits of the job.")
    termination_grace_period_seconds: Annotated[int, Field(ge=0, le=3600)] = Field(
        default=30, description="Seconds between SIGTERM and SIGKILL when the job is stopped. Default 30."
    )
    retry_policy: RetryPolicy = Field(default=RetryPolicy(), description="When another attempt is made.")
    peer_timeout_seconds: Annotated[int, Field(ge=1, le=86400)] = Field(
        default=600,
        description="Seconds that a node that is ready waits for one that cannot be reached. Default 600.",
    )
    pod_security: Literal["baseline", "restricted"] = Field(
        default="baseline",
        description="Pod Security level of the job's pods: baseline, the default, runs as root, as the service did.",
    )
    terminate: bool = Field(
        default=False,
        description="Set to true to stop the job; the Job and its files stay. Cannot be taken back.",
    )

    def toolkit(self) -> tuple[str, Model]:
        """The one settings field that is set, as users write it, and its value. Raises SpecError if not one."""
        found = [
            (type(self).model_fields[name].alias or name, value)
            for name, value in self
            if isinstance(value, Model) and (type(self).model_fields[name].alias or name) in TOOLKITS
        ]
        if len(found) != 1:
            raise SpecError("spec", f"set exactly one of {', '.join(TOOLKITS)}")
        return found[0]

    @property
    def tool_type(self) -> str:
        """The job's toolType (reference §1.5)."""
        return TOOLKITS[self.toolkit()[0]]


SPEC_RULES = (
    Rule(
        "[" + ", ".join(f"has(self.{name})" for name in TOOLKITS) + "].filter(set, set).size() == 1",
        f"set exactly one of {', '.join(TOOLKITS)}",
    ),
    VARIABLES_RULE,
    Rule(
        "!oldSelf.terminate || self.terminate",
        "terminate cannot be taken back: create a new Job to run it again",
    ),
)
RESOURCE_RULES = (
    Rule(
        "self.metadata.name.size() <= 50",
        "metadata.name must have at most 50 characters, because the names of the job's pods are made from it",
    ),
)


TERMINAL_STATES = frozenset({"succeeded", "failed"})
"""The execution states that nothing follows on."""


class ErrorDetail(Model):
    """A named piece of an error."""

    name: str = Field(description="What it is.")
    value: str = Field(description="The text.")


class JobError(Model):
    """What went wrong."""

    code: str = Field(description="Batch AI's error code.")
    message: str = Field(description="One sentence.")
    details: list[ErrorDetail] | None = Field(default=None, description="The underlying texts.")


class ExecutionInfo(Model):
    """How the job ran."""

    start_time: datetime | None = Field(default=None, description="Start of the last attempt.")
    end_time: datetime | None = Field(default=None, description="End of the job.")
    exit_code: int | None = Field(default=None, description="Exit code; absent when there was none.")
    errors: list[JobError] | None = Field(default=None, description="Why the job failed.")


class Waiting(Model):
    """Why the job waits."""

    reason: str = Field(description="CamelCase reason.")
    message: str = Field(description="The same in plain words.")


class JobAttempt(Model):
    """One try to run the job."""

    number: int = Field(description="Number of the attempt, from 1.")
    nodes: list[str] = Field(description="Its nodes, master first.")
    start_time: datetime = Field(description="When it got its nodes.")
    end_time: datetime | None = Field(default=None, description="When it ended.")
    exit_code: int | None = Field(default=None, description="Exit code; absent when there was none.")
    reason: str | None = Field(default=None, description="How it ended: Succeeded, or the error's code.")
    message: str | None = Field(default=None, description="The same in a sentence.")
    faulty_nodes: list[str] | None = Field(
        default=None, description="Nodes whose hardware ended it; later attempts stay away from them."
    )


class JobStatus(Model):
    """What the operator observed."""

    execution_state: Literal["queued", "running", "terminating", "succeeded", "failed"] | None = Field(
        default=None, description="Where the job is in its life."
    )
    execution_state_transition_time: datetime | None = Field(
        default=None, description="When the execution state changed last."
    )
    provisioning_state: Literal["creating", "succeeded", "failed", "deleting"] | None = Field(
        default=None, description="State of the resource itself."
    )
    provisioning_state_transition_time: datetime | None = Field(
        default=None, description="When the provisioning state changed last."
    )
    execution_info: ExecutionInfo | None = Field(default=None, description="Times, exit code and errors.")
    job_output_directory_path_segment: str | None = Field(
        default=None, description="The part of output paths that is the job's own."
    )
    tool_type: str | None = Field(default=None, description="The toolkit.")
    queue_position: int | None = Field(default=None, description="Place in the cluster's queue, from 1.")
    waiting: Waiting | None = Field(default=None, description="Why a queued job waits.")
    attempt: int | None = Field(default=None, description="Number of the current attempt, from 1.")
    retries: int | None = Field(default=None, description="Attempts that count against retryPolicy.limit.")
    nodes: list[str] | None = Field(default=None, description="Nodes of the current attempt, master first.")
    attempts: list[JobAttempt] | None = Field(
        default=None,
        description="The attempts, the current one last; of many the last 10, and those with faulty nodes.",
    )
    conditions: Conditions | None = Field(default=None, description="Kubernetes conditions.")
    observed_generation: int | None = Field(default=None, description="Generation that the status is about.")


class Job(Model):
    """One training run on nodes of a Cluster."""

    metadata: ObjectMeta
    spec: JobSpec
    status: JobStatus = JobStatus()
