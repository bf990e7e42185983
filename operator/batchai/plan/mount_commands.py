"""Mount commands of unmanagedFileSystems that are not NFS (Batch AI reference §6.4): a privileged container runs them.

What one mounts lies below a directory of the node, not in a volume of the pod: the kubelet empties those when a pod
goes, and would empty a file system that is still mounted there.
"""

from dataclasses import dataclass

from batchai.errors import SpecError

NODE_DIRECTORY = "/var/lib/batchai/mounts"


@dataclass(frozen=True)
class MountCommand:
    """A command, the image that it runs in, and the directory of the node that is put behind the command."""

    command: str
    image: str
    directory: str


def mount_command(command: str, image: str | None, directory: str, *, claims_only: bool, field: str) -> MountCommand:
    """A command that may run. image: None where the operator's settings allow no command; directory: below the node's.

    Raises SpecError if it may not run.
    """
    if image is None:
        raise SpecError(
            field,
            f"'{command}' cannot be run in this namespace: write 'mount -t nfs [-o OPTIONS] HOST:/PATH', which needs "
            "none, or install the file system's CSI driver and name a claim in persistentVolumeClaims, or let an "
            "administrator name the namespace in the operator's BATCHAI_MOUNT_COMMAND_NAMESPACES",
        )
    if claims_only:
        raise SpecError(
            field,
            f"'{command}' needs a privileged container, which podSecurity 'restricted' rules out: remove podSecurity, "
            "or name a claim in persistentVolumeClaims",
        )
    return MountCommand(command.strip().removeprefix("sudo "), image, f"{NODE_DIRECTORY}/{directory}")
