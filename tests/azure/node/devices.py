"""A device plugin for nvidia.com/gpu: as many as the file `count` says, unhealthy while `unhealthy` exists."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import devices_pb2
import devices_pb2_grpc
import grpc

_FOLDER = Path("/var/lib/kubelet/device-plugins")
_SOCKET = _FOLDER / "stand-in-gpu.sock"
_KUBELET = _FOLDER / "kubelet.sock"


class DevicePlugin(devices_pb2_grpc.DevicePluginServicer):
    """Lists the devices and hands them out."""

    def __init__(self, state: Path) -> None:
        self._state = state

    def GetDevicePluginOptions(self, request, context):
        return devices_pb2.Empty()

    def ListAndWatch(self, request, context) -> Iterator[devices_pb2.DeviceList]:
        said = None
        while context.is_active():
            now = self._devices()
            if now != said:
                said = now
                yield devices_pb2.DeviceList(
                    devices=[devices_pb2.Device(ID=name, health=health) for name, health in now]
                )
            time.sleep(0.5)

    def Allocate(self, request, context):
        return devices_pb2.AllocateResponse(
            container_responses=[
                devices_pb2.ContainerResponse(envs={"NVIDIA_VISIBLE_DEVICES": ",".join(container.device_ids)})
                for container in request.container_requests
            ]
        )

    def _devices(self) -> list[tuple[str, str]]:
        count = self._state / "count"
        number = int(count.read_text()) if count.exists() else 1
        health = "Unhealthy" if (self._state / "unhealthy").exists() else "Healthy"
        return [(f"GPU-{index}", health) for index in range(number)]


def serve(state: Path) -> None:
    """Serves and registers for ever; a kubelet that restarts removes the socket, then everything begins again."""
    while True:
        _SOCKET.unlink(missing_ok=True)
        # A stream per kubelet connection stays open: more threads than calls at a time.
        server = grpc.server(ThreadPoolExecutor(max_workers=8))
        devices_pb2_grpc.add_DevicePluginServicer_to_server(DevicePlugin(state), server)
        server.add_insecure_port(f"unix://{_SOCKET}")
        server.start()
        if _register():
            while _SOCKET.exists():
                time.sleep(0.5)
        server.stop(grace=0)
        time.sleep(1)


def _register() -> bool:
    request = devices_pb2.RegisterRequest(version="v1beta1", endpoint=_SOCKET.name, resource_name="nvidia.com/gpu")
    try:
        with grpc.insecure_channel(f"unix://{_KUBELET}") as channel:
            devices_pb2_grpc.RegistrationStub(channel).Register(request, timeout=10)
    except grpc.RpcError as error:
        print(f"the kubelet did not take the device plugin: {error.details()}", flush=True)
        return False
    print("nvidia.com/gpu is registered", flush=True)
    return True


def start(state: Path) -> None:
    """Serves in the background."""
    threading.Thread(target=serve, args=(state,), daemon=True).start()
