"""python -m node: both CSI drivers of Azure storage and the GPU device plugin of one node."""

import os
import subprocess
from pathlib import Path

from node import csi, devices
from node.attributes import BLOB_DRIVER, FILE_DRIVER, Credentials
from node.mounts import Mounter


def _forget_dead_mounts() -> None:
    """A FUSE mount whose process ended with an earlier plugin answers every access with an error."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        source, target, kind = line.split(" ")[:3]
        if kind == "fuse.rclone" and target.startswith("/var/lib/kubelet/pods/"):
            print(f"unmounting {target}, left by an earlier plugin ({source})", flush=True)
            subprocess.run(["umount", "-l", target], check=False)


def main() -> None:
    """Serves until a signal."""
    account = Credentials(os.environ["AZURE_ACCOUNT_NAME"], os.environ["AZURE_ACCOUNT_KEY"], None)
    mounter = Mounter(account, os.environ["AZURE_BLOB_ENDPOINT"])
    _forget_dead_mounts()
    devices.start(Path(os.environ["GPU_STATE"]))
    csi.serve({driver: csi.StorageNode(driver, mounter) for driver in (FILE_DRIVER, BLOB_DRIVER)})


if __name__ == "__main__":
    main()
