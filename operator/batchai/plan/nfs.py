"""NFS exports in a job's words: the options of fileServers, and the mount commands of unmanagedFileSystems."""

import re
import shlex
from dataclasses import dataclass

from batchai.errors import SpecError

_SOURCE = re.compile(r"(?P<server>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]*):(?P<path>/\S*)")
_DEFAULTS = frozenset({"rw", "ro", "defaults", "hard"})
"""What a mount without options does, and what a volume says in another way."""
_NAMES = """
ac acdirmax acdirmin acl acregmax acregmin actimeo async atime bg clientaddr cto dev diratime exec fg fsc intr
local_lock lock lookupcache max_connect minorversion mounthost mountport mountproto mountvers namlen nconnect nfsvers
noac noacl noatime nocto nodev nodiratime noexec nofsc nointr nolock nordirplus norelatime noresvport nosharecache
nosuid port proto rdirplus rdma relatime resvport retrans retry rsize sec sharecache soft softerr softreval suid sync
tcp timeo trunkdiscovery udp vers wsize xprtsec _netdev
"""
_OPTIONS = frozenset(_NAMES.split())
"""nfs(5)'s, and those of every file system that concern access; bind and its kin would mount something else."""
_OPTION = re.compile(r"(?P<name>[a-z_]+)(=[A-Za-z0-9_.:-]+)?")
_HELP = "mount -t nfs [-o OPTIONS] HOST:/PATH"


@dataclass(frozen=True)
class NfsMount:
    """An export to mount. options: those that a plain volume cannot say; without rw and ro."""

    server: str
    path: str
    options: tuple[str, ...] = ()
    read_only: bool = False

    @property
    def title(self) -> str:
        """What mount calls it."""
        return f"{self.server}:{self.path}"


def option_words(options: str | None) -> list[str]:
    """mountOptions taken apart: they are separated by commas, and may begin with -o."""
    return [word for word in re.split(r"[,\s]+", options or "") if word not in {"", "-o"}]


def export(server: str, path: str, options: str | None, *, read_only: bool, field: str) -> NfsMount:
    """An export with the options of a job, separated by commas. Raises SpecError for one that is not NFS'."""
    given = option_words(options)
    for option in given:
        match = _OPTION.fullmatch(option)
        if match is None or match["name"] not in _OPTIONS | _DEFAULTS:
            raise SpecError(field, f"'{option}' is no option of an NFS mount: remove it")
    kept = tuple(option for option in given if option not in _DEFAULTS)
    return NfsMount(server, path, kept, read_only or "ro" in given)


def of_command(command: str, field: str) -> NfsMount | None:
    """The export that a mount command of unmanagedFileSystems names; None if it mounts something else.

    Raises SpecError for a command that nobody can read, and for an NFS mount that a volume cannot be.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise SpecError(field, f"cannot be read: {error}") from None
    if words[:1] == ["sudo"]:
        words = words[1:]
    if not words:
        raise SpecError(field, f"is empty: write '{_HELP}'")
    if words[0].rpartition("/")[2] != "mount":
        return None
    kind, options, sources, unknown, read_only = None, [], [], [], False
    remaining = iter(words[1:])
    for word in remaining:
        if word in {"-t", "--types"}:
            kind = next(remaining, "")
        elif word in {"-o", "--options"}:
            options.append(next(remaining, ""))
        elif word.startswith("-t"):
            kind = word[2:]
        elif word.startswith("-o"):
            options.append(word[2:])
        elif word in {"-r", "--read-only"}:
            read_only = True
        elif word.startswith("-"):
            unknown.append(word)
        else:
            sources.append(word)
    match = _SOURCE.fullmatch(sources[0]) if sources else None
    if kind not in {None, "nfs", "nfs4"} or match is None:
        return None
    if unknown:
        raise SpecError(field, f"'{unknown[0]}' cannot be used: write '{_HELP}'")
    if len(sources) > 1:
        raise SpecError(field, f"'{sources[1]}' is too much: relativeMountPath says where it is mounted")
    server = match["server"].strip("[]")
    return export(server, match["path"], ",".join(options), read_only=read_only, field=field)
