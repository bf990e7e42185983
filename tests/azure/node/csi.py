"""The CSI services of one driver name, and its registration with the kubelet."""

import base64
import json
import os
import ssl
import urllib.error
import urllib.request
from pathlib import Path

import csi_pb2
import csi_pb2_grpc
import grpc
import registration_pb2
import registration_pb2_grpc

from node.attributes import Rejected, Wanted, credentials, wanted
from node.mounts import Mounter

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


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
    """Mounts for the pods of this node."""

    def __init__(self, driver: str, node: str, mounter: Mounter) -> None:
        self._driver = driver
        self._node = node
        self._mounter = mounter

    def NodeGetInfo(self, request, context):
        return csi_pb2.NodeInfo(node_id=self._node)

    def NodeGetCapabilities(self, request, context):
        return csi_pb2.Nothing()

    def NodePublishVolume(self, request, context):
        try:
            mount = wanted(self._driver, request.volume_context)
            given = credentials(_secret(mount), mount)
            self._mounter.mount(mount, given, Path(request.target_path))
        except Rejected as rejected:
            context.abort(getattr(grpc.StatusCode, rejected.code), rejected.message)
        return csi_pb2.Nothing()

    def NodeUnpublishVolume(self, request, context):
        self._mounter.unmount(Path(request.target_path))
        return csi_pb2.Nothing()


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


def _secret(mount: Wanted) -> dict[str, str]:
    """The Secret's decoded data, read with the plugin's own rights in the pod's namespace."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    url = f"https://{host}:{port}/api/v1/namespaces/{mount.namespace}/secrets/{mount.secret}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {(_ACCOUNT / 'token').read_text()}"})
    trust = ssl.create_default_context(cafile=str(_ACCOUNT / "ca.crt"))
    try:
        with urllib.request.urlopen(request, context=trust, timeout=10) as response:
            data = json.load(response).get("data") or {}
    except urllib.error.HTTPError as error:
        error.close()
        reason = f'secrets "{mount.secret}" not found' if error.code == 404 else f"HTTP status {error.code}"
        raise Rejected("INTERNAL", f"could not get secret({mount.secret}): {reason}") from error
    return {name: base64.b64decode(value).decode() for name, value in data.items()}
