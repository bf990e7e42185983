import pytest

from batchai.errors import SpecError
from batchai.plan.nfs import NfsMount, export, of_command


@pytest.mark.parametrize(
    ("command", "mount"),
    [
        ("mount -t nfs 10.0.0.4:/gv0", NfsMount("10.0.0.4", "/gv0")),
        ("sudo mount -t nfs4 -o rw,hard filer.example:/a/b/", NfsMount("filer.example", "/a/b/")),
        ("mount -t nfs -r host:/", NfsMount("host", "/", read_only=True)),
        ("mount -tnfs -oro host:/x", NfsMount("host", "/x", read_only=True)),
        ("mount -t nfs -o vers=4.1 -o nconnect=8,ro host:/x", NfsMount("host", "/x", ("vers=4.1", "nconnect=8"), True)),
        ("/bin/mount --types nfs --options noatime [fd00::1]:/x", NfsMount("fd00::1", "/x", ("noatime",))),
        ("mount host:/x", NfsMount("host", "/x")),
    ],
)
def test_a_mount_command_of_nfs_is_read(command: str, mount: NfsMount) -> None:
    assert of_command(command, "f") == mount


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("", "is empty: write 'mount -t nfs"),
        ("mount -t nfs host:/x /mnt/here", "'/mnt/here' is too much: relativeMountPath"),
        ("mount -t nfs --bind host:/x", "'--bind' cannot be used"),
        ("mount -t nfs -o bind host:/x", "'bind' is no option of an NFS mount"),
        ("mount -t nfs -o 'vers=4;id' host:/x", "is no option of an NFS mount"),
        ("mount -t nfs 'host:/x", "cannot be read"),
    ],
)
def test_an_nfs_mount_that_no_volume_can_be_is_refused_with_a_remedy(command: str, said: str) -> None:
    with pytest.raises(SpecError, match=said) as refused:
        of_command(command, "spec.mountVolumes.unmanagedFileSystems[0].mountCommand")
    assert refused.value.field == "spec.mountVolumes.unmanagedFileSystems[0].mountCommand"


@pytest.mark.parametrize(
    "command",
    [
        "mount -t glusterfs 10.0.0.4:/gv0",
        "mount -t cifs //host/share -o username=x",
        "mount --verbose -t cifs //host/share",
        "glusterfs --volfile-server=host",
        "mount -t nfs host",
    ],
)
def test_what_mounts_something_else_is_told_apart(command: str) -> None:
    assert of_command(command, "f") is None


@pytest.mark.parametrize(
    ("options", "mount"),
    [
        (None, NfsMount("s", "/")),
        ("rw", NfsMount("s", "/")),
        ("-o rw,soft", NfsMount("s", "/", ("soft",))),
        ("defaults ro", NfsMount("s", "/", read_only=True)),
    ],
)
def test_options_of_a_file_server(options: str | None, mount: NfsMount) -> None:
    assert export("s", "/", options, read_only=False, field="f") == mount
