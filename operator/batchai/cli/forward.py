"""-L: local ports whose connections end at ports of a pod."""

import re
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from batchai.cli.kubestreams import Tunnel
from batchai.cli.problems import Problem, UsageProblem
from batchai.errors import BatchAIError

Dial = Callable[[int], Tunnel]
"""Makes a connection to a port of the pod; raises BatchAIError."""

LINGER_SECONDS = 10.0
"""How long an answer may pause once the local side has sent all it will."""
_CHUNK = 1 << 16
_RULE = re.compile(r"(?:(?P<bind>[^:]+):)?(?P<local>\d{1,5}):(?P<host>[^:]+):(?P<remote>\d{1,5})")
_POD_ITSELF = frozenset({"localhost", "127.0.0.1"})


@dataclass(frozen=True)
class Rule:
    """Connections to `local` on the address `bind` end at the pod's port `remote`."""

    bind: str
    local: int
    remote: int


def parse(text: str) -> Rule:
    """A rule of `[bind:]lport:host:rport`. Raises UsageProblem for what is none, or leads beyond the pod."""
    match = _RULE.fullmatch(text)
    if match is None or not 0 < int(match["remote"]) < 65536 or int(match["local"]) >= 65536:
        raise UsageProblem(f"--address '{text}' is not lport:host:rport.", "For example: -L 6006:localhost:6006")
    if match["host"] not in _POD_ITSELF:
        raise UsageProblem(
            f"--address '{text}': the Kubernetes API forwards to the node's pod only, not to '{match['host']}'.",
            "Write localhost as the host; --node-id chooses another node.",
        )
    return Rule(match["bind"] or "127.0.0.1", int(match["local"]), int(match["remote"]))


@contextmanager
def forwarding(rule: Rule, dial: Dial, say: Callable[[str], None]) -> Iterator[int]:
    """Forwards in the background; gives the local port, which is the system's choice if the rule's is 0."""
    try:
        listener = socket.create_server((rule.bind, rule.local))
    except OSError as error:
        raise Problem(f"port {rule.local} of {rule.bind} cannot be listened on: {error.strerror}.") from error
    with listener:
        threading.Thread(target=_accept, args=(listener, rule, dial, say), daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            # A thread in accept() holds a closed socket open; this wakes it (where it is an error, closing does).
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, rule: Rule, dial: Dial, say: Callable[[str], None]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # closed: the command is at its end
        threading.Thread(target=_serve, args=(connection, rule, dial, say), daemon=True).start()


def _serve(local: socket.socket, rule: Rule, dial: Dial, say: Callable[[str], None]) -> None:
    with local:
        try:
            tunnel = dial(rule.remote)
        except BatchAIError as error:
            say(f"A connection to port {rule.remote} failed: {error}.")
            return
        try:
            _join(local, tunnel.socket)
        except OSError:
            pass  # one side is gone, and with it the connection
        finally:
            tunnel.socket.close()
        if fault := tunnel.fault():
            say(f"A connection to port {rule.remote} failed: {' '.join(fault.split())}")


def _join(local: socket.socket, remote: socket.socket) -> None:
    """Copies both ways until the pod's side ends, or the local one has ended and nothing more comes.

    The end of the local side cannot be told to the pod without losing its answer.
    """
    sources = [local, remote]
    while ready := select.select(sources, [], [], None if local in sources else LINGER_SECONDS)[0]:
        for source in ready:
            data = source.recv(_CHUNK)
            if source is remote:
                if not data:
                    return
                local.sendall(data)
            elif data:
                remote.sendall(data)
            else:
                sources.remove(local)
