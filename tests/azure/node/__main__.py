"""python -m node: both CSI drivers and the GPU device plugin of one node."""

import os
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import csi_pb2_grpc
import grpc
import registration_pb2_grpc

from node import devices
from node.attributes import BLOB_DRIVER, FILE_DRIVER, Credentials
from node.csi import Identity, Node, Registration
from node.mounts import Mounter

_PLUGINS = Path("/var/lib/kubelet/plugins")
_REGISTRY = Path("/var/lib/kubelet/plugins_registry")


def _serve(path: Path, *servicers: tuple[object, object]) -> grpc.Server:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    server = grpc.server(ThreadPoolExecutor(max_workers=8))
    for add, servicer in servicers:
        add(servicer, server)
    server.add_insecure_port(f"unix://{path}")
    server.start()
    return server


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
    servers = []
    for driver in (FILE_DRIVER, BLOB_DRIVER):
        endpoint = _PLUGINS / driver / "csi.sock"
        servers.append(
            _serve(
                endpoint,
                (csi_pb2_grpc.add_IdentityServicer_to_server, Identity(driver)),
                (csi_pb2_grpc.add_NodeServicer_to_server, Node(driver, os.environ["NODE_NAME"], mounter)),
            )
        )
        registration = Registration(driver, str(endpoint))
        add = registration_pb2_grpc.add_RegistrationServicer_to_server
        servers.append(_serve(_REGISTRY / f"{driver}-reg.sock", (add, registration)))
    devices.start(Path(os.environ["GPU_STATE"]))
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    ended.wait()
    for server in servers:
        server.stop(grace=None)
    # The kubelet's stream of devices would keep a thread, and so the process, for ever.
    os._exit(0)


if __name__ == "__main__":
    main()
