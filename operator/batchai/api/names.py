"""The names that the outside sees: API group, labels, annotations, finalizers and mount roots."""

GROUP = "batchai.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
CATEGORY = "batchai"

LABEL_NAME = f"{GROUP}/name"
"""The Azure name (underscores, capitals), where it differs from metadata.name."""
LABEL_WORKSPACE = f"{GROUP}/workspace"
LABEL_EXPERIMENT = f"{GROUP}/experiment"
LABEL_JOB = f"{GROUP}/job"
LABEL_JOB_UID = f"{GROUP}/job-uid"
LABEL_ATTEMPT = f"{GROUP}/attempt"
LABEL_INDEX = f"{GROUP}/index"
LABEL_CLUSTER = f"{GROUP}/cluster"
"""On pods and jobs: the Cluster's name. On nodes: the name of the Cluster that owns the node."""
LABEL_CLUSTER_NAMESPACE = f"{GROUP}/cluster-namespace"
LABEL_PLACEHOLDER = f"{GROUP}/placeholder"
"""On pods that ask an autoscaler for a node: the name of the Cluster that wants it."""
LABEL_SETUP = f"{GROUP}/setup"
"""On pods that make a node ready: the name of the Cluster that the node belongs to."""
LABEL_FILE_SERVER = f"{GROUP}/file-server"
"""On all that is made for a FileServer: its name."""
TAINT_CLUSTER = f"{GROUP}/cluster"
"""On owned nodes, with the Cluster's name as its value: keeps pods off that are no job's."""
LABEL_STORAGE_ACCOUNT = f"{GROUP}/storage-account"
"""On Secrets: the storage account whose credentials they hold."""
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_BY = "batchai"

ANNOTATION_FILE_ENDPOINT = f"{GROUP}/file-endpoint"
ANNOTATION_BLOB_ENDPOINT = f"{GROUP}/blob-endpoint"
"""On a storage account's Secret: REST endpoints that differ from Azure's public ones."""

ANNOTATION_NODE = f"{GROUP}/node"
"""On job pods: the node that the pod is pinned to (a label could not hold every node name)."""

ANNOTATION_PLAN = f"{GROUP}/plan"
"""On what is made for a FileServer: the fingerprint of what the operator wanted when it wrote it last."""

ANNOTATION_PREPARED = f"{GROUP}/prepared"
"""On owned nodes: the fingerprint of the setup that has succeeded there."""

FINALIZER_RESULT = f"{GROUP}/result"
"""On master pods, until their result is in the Job's status (design §2.2)."""

SECRET_ACCOUNT_NAME = "azurestorageaccountname"  # noqa: S105 - a key's name
SECRET_ACCOUNT_KEY = "azurestorageaccountkey"  # noqa: S105 - a key's name
SECRET_ACCOUNT_SAS = "azurestorageaccountsastoken"  # noqa: S105 - a key's name

CONDITION_GPU_HEALTHY = f"{GROUP}/GpuHealthy"
"""On nodes: the node health agent's verdict; False is bad, Unknown says that there is nothing to judge."""
TAINT_GPU_UNHEALTHY = f"{GROUP}/gpu-unhealthy"
"""On nodes, NoSchedule, while that condition is False; only the agent adds and removes it."""
LABEL_GPU_COUNT = f"{GROUP}/gpu-count"
"""On nodes, by their administrator: how many GPUs the machine has."""

INSTANCE_TYPE_LABEL = "node.kubernetes.io/instance-type"
GPU_RESOURCE = "nvidia.com/gpu"
