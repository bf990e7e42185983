"""The CSI services of one driver name, and its registration with the kubelet."""

import base64
import os
import signal
import threading
import urllib.error
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import csi_pb2
import csi_pb2_grpc
import grpc
import registration_pb2
import registration_pb2_grpc

from node import api
from node.attributes import Rejected, Wanted, credentials, wanted
from node.mounts import Mounter

_PLUGINS = Path("/var/lib/kubelet/plugins")
_REGISTRY = Path("/var/lib/kubelet/plugins_registry")


class Identity(csi_pb2_grpc.IdentityServicer):
    """Who the driver is."""

    def __init__(self, driver: str) -> None:
        self._driver = driver

    def GetPluginInfo(self, request, context):
        return csi_pb2.PluginInfo(name=self._driver, vendor_version="stand-in")

    def GetPluginCapabilities(self, request, context):
        return csi_pb2.Nothing()

    def Probe(self, request, context):
        return csi_pb2.Nothing()


class Node(csi_pb2_grpc.NodeServicer):
    """Volumes for the pods of this node; a driver says how they come and go."""

    def publish(self, request: csi_pb2.PublishRequest) -> None:
        """Mounts at the request's target. Raises Rejected; is called again for a volume that is there."""
        raise NotImplementedError

    def unpublish(self, target: Path) -> None:
        """Unmounts what is there and removes the folder; nothing there is fine."""
        raise NotImplementedError

    def NodeGetInfo(self, request, context):
        return csi_pb2.NodeInfo(node_id=os.environ["NODE_NAME"])

    def NodeGetCapabilities(self, request, context):
        return csi_pb2.Nothing()

    def NodePublishVolume(self, request, context):
        try:
            self.publish(request)
        except Rejected as rejected:
            context.abort(getattr(grpc.StatusCode, rejected.code), rejected.message)
        return csi_pb2.Nothing()

    def NodeUnpublishVolume(self, request, context):
        self.unpublish(Path(request.target_path))
        return csi_pb2.Nothing()


class StorageNode(Node):
    """Mounts Azure storage."""

    def __init__(self, driver: str, mounter: Mounter) -> None:
        self._driver = driver
        self._mounter = mounter

    def publish(self, request: csi_pb2.PublishRequest) -> None:
        mount = wanted(self._driver, request.volume_context)
        given = credentials(_secret(mount), mount) if mount.secret else self._mounter.trusted(mount.account)
        self._mounter.mount(mount, given, Path(request.target_path))

    def unpublish(self, target: Path) -> None:
        self._mounter.unmount(target)


class Registration(registration_pb2_grpc.RegistrationServicer):
    """Answers the kubelet's question who listens on the registration socket."""

    def __init__(self, driver: str, endpoint: str) -> None:
        self._driver = driver
        self._endpoint = endpoint

    def GetInfo(self, request, context):
        return registration_pb2.PluginInfo(
            type="CSIPlugin", name=self._driver, endpoint=self._endpoint, supported_versions=["1.0.0"]
        )

    def NotifyRegistrationStatus(self, request, context):
        if not request.plugin_registered:
            print(f"{self._driver} was not registered: {request.error}", flush=True)
            os._exit(1)
        print(f"{self._driver} is registered", flush=True)
        return registration_pb2.RegistrationStatusResponse()


def serve(drivers: Mapping[str, Node]) -> None:
    """Serves drivers by their names, registered with the kubelet, until a signal."""
    servers = [server for driver, node in drivers.items() for server in _start(driver, node)]
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    ended.wait()
    for server in servers:
        server.stop(grace=None)
    for driver in drivers:
        # The kubelet forgets a driver when this goes.
        _registration(driver).unlink(missing_ok=True)
    # A stream that the kubelet holds would keep its thread, and so the process, for ever.
    os._exit(0)


def _registration(driver: str) -> Path:
    return _REGISTRY / f"{driver}-reg.sock"


def _start(driver: str, node: Node) -> list[grpc.Server]:
    endpoint = _PLUGINS / driver / "csi.sock"
    registration = Registration(driver, str(endpoint))
    return [
        _listen(
            endpoint,
            (csi_pb2_grpc.add_IdentityServicer_to_server, Identity(driver)),
            (csi_pb2_grpc.add_NodeServicer_to_server, node),
        ),
        _listen(
            _registration(driver),
            (registration_pb2_grpc.add_RegistrationServicer_to_server, registration),
        ),
    ]


def _listen(path: Path, *servicers: tuple[object, object]) -> grpc.Server:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    server = grpc.server(ThreadPoolExecutor(max_workers=8))
    for add, servicer in servicers:
        add(servicer, server)
    server.add_insecure_port(f"unix://{path}")
    server.start()
    return server


def _secret(mount: Wanted) -> dict[str, str]:
    """The Secret's decoded data, read with the plugin's own rights in the pod's namespace."""
    try:
        data = api.get(f"/api/v1/namespaces/{mount.namespace}/secrets/{mount.secret}").get("data") or {}
    except urllib.error.HTTPError as error:
        reason = f'secrets "{mount.secret}" not found' if error.code == 404 else f"HTTP status {error.code}"
        raise Rejected("INTERNAL", f"could not get secret({mount.secret}): {reason}") from error
    return {name: base64.b64decode(value).decode() for name, value in data.items()}
