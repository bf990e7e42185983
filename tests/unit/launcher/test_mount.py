"""The program that runs mount commands, up to what needs rights to mount (tests/e2e/test_storage.py has that)."""

import subprocess
from pathlib import Path

import pytest
from tests.unit.launcher.test_launch import BUSYBOX, ROOT


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("echo no such server >&2; exit 32;", 32, "no such server"),
        ("echo would mount at", 1, "is no mount"),
    ],
)
def test_a_command_that_mounts_nothing_ends_the_container_with_its_words(
    tmp_path: Path, command: str, code: int, said: str
) -> None:
    assert BUSYBOX is not None, "busybox-static is missing: run 'make unit', or tests/kind/require.sh unit"
    (tmp_path / "busybox").symlink_to(BUSYBOX)
    (tmp_path / "mount").write_text((ROOT / "launcher" / "mount").read_text())
    directory = tmp_path / "node" / "mount-0"
    done = subprocess.run(
        [BUSYBOX, "sh", tmp_path / "mount", directory],
        env={"BATCHAI_MOUNT_COMMAND": command},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == code
    assert said in done.stderr
    assert not directory.parent.exists()
