"""The real script with the real static busybox, as processes on this machine."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BUSYBOX = next((path for path in (Path("/bin/busybox"), Path("/usr/bin/busybox")) if path.exists()), None)


@dataclass
class Launcher:
    """A bundle and a job's directories below a folder of the test."""

    root: Path

    def start(self, *commands: str, **settings: str) -> "subprocess.Popen[bytes]":
        logs = self.root / "logs dir" / "stdouterr"
        environment = {
            "PATH": os.environ["PATH"],
            "AZ_BATCH_NODE_ID": "here",
            "AZ_BATCHAI_STDOUTERR_DIR": str(logs),
            "AZ_BATCHAI_MPI_HOST_FILE": str(self.root / "hostfile"),
            "BATCHAI_LAUNCH_MESSAGE": str(self.root / "message"),
            "BATCHAI_LAUNCH_DIRECTORIES": f"{logs}\n{self.root / 'wd'}",
            "BATCHAI_LAUNCH_WORK_DIR": str(self.root / "wd"),
            "BATCHAI_LAUNCH_HOST_FILE_CONTENT": "me slots=1\n",
            "BATCHAI_LAUNCH_GRACE_SECONDS": "1",
            "BATCHAI_LAUNCH_PROCESSES": str(len(commands)),
        }
        for index, command in enumerate(commands):
            environment[f"BATCHAI_LAUNCH_PROCESS_{index}_COMMAND"] = command
            environment[f"BATCHAI_LAUNCH_PROCESS_{index}_STDOUT"] = f"stdout-{index}.txt"
            environment[f"BATCHAI_LAUNCH_PROCESS_{index}_STDERR"] = f"stderr-{index}.txt"
        bundle = self.root / "bundle"
        return subprocess.Popen(
            [bundle / "busybox", "sh", bundle / "launch"],
            env=environment | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self, *commands: str, **settings: str) -> tuple[int, bytes, bytes]:
        process = self.start(*commands, **settings)
        try:
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
        return process.returncode, out, err

    def file(self, name: str) -> bytes:
        return (self.root / "logs dir" / "stdouterr" / name).read_bytes()

    @property
    def message(self) -> str:
        return (self.root / "message").read_text()


@pytest.fixture
def launcher(tmp_path: Path) -> Launcher:
    assert BUSYBOX is not None, "busybox-static is missing: run 'make unit', or tests/kind/require.sh unit"
    image = tmp_path / "image"
    shutil.copytree(ROOT / "launcher", image)
    shutil.copy(BUSYBOX, image / "busybox")
    # One node needs neither: tini is the container's, ssh for several nodes (tests/e2e/test_nodes.py).
    for absent in ("tini", "dropbearmulti"):
        (image / absent).touch()
    subprocess.run([BUSYBOX, "sh", image / "install", tmp_path / "bundle"], check=True)
    return Launcher(tmp_path)


def test_same_bytes_in_files_and_container_log(launcher: Launcher) -> None:
    code, out, err = launcher.run("printf 'a\\0b\\n\\377'; printf 'e\\0r' >&2")
    assert (code, out, err) == (0, b"a\0b\n\xff", b"e\0r")
    assert launcher.file("stdout-0.txt") == b"a\0b\n\xff"
    assert launcher.file("stderr-0.txt") == b"e\0r"


def test_megabytes_arrive_whole(launcher: Launcher) -> None:
    code, out, _ = launcher.run("head -c 3000000 /dev/zero")
    assert code == 0
    assert len(out) == 3_000_000
    assert len(launcher.file("stdout-0.txt")) == 3_000_000


def test_output_is_there_while_the_process_runs(launcher: Launcher) -> None:
    process = launcher.start("echo early; sleep 20")
    assert process.stdout is not None
    assert process.stdout.readline() == b"early\n"
    # tee writes to its output first.
    deadline = time.monotonic() + 5
    while launcher.file("stdout-0.txt") != b"early\n" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert launcher.file("stdout-0.txt") == b"early\n"


def test_variables_reach_the_processes_whatever_their_names(launcher: Launcher) -> None:
    # Every name that the launcher's scripts assign, with what shells find hard.
    text = "".join((ROOT / "launcher" / name).read_text() for name in ("launch", "peers"))
    found = set(re.findall(r"\b([a-z][a-z_0-9]*)=", text)) | set(re.findall(r"\btake ([a-z_]+) ", text))
    assert {"name", "image", "index", "code", "message", "bundle"} <= found
    given = {name: f'{name}\'s "$HOME"\nexport other={name}\\' for name in (*found, "http_proxy")}
    settings = {"BATCHAI_LAUNCH_PREPARATION": "true", "BATCHAI_LAUNCH_PROCESS_0_ENVIRONMENT": "own=1\nname=toolkit"}
    code, out, err = launcher.run("env -0", **given, **settings)
    assert (code, err) == (0, b"")
    seen = dict(line.split("=", 1) for line in out.decode().split("\0") if line)
    assert {name: seen.get(name) for name in given} == {**given, "name": "toolkit"}
    assert "other" not in seen


def test_exit_code_and_last_words(launcher: Launcher) -> None:
    code, _, _ = launcher.run("echo 'it broke' >&2; exit 42")
    assert code == 42
    assert launcher.message == "phase=toolkit exit=42 node=here\nit broke\n"


def test_a_new_attempt_goes_on_behind_the_output_of_the_former(launcher: Launcher) -> None:
    launcher.run("echo first; echo broken >&2; exit 1")
    code, out, err = launcher.run("echo second; exit 2")
    assert (code, out, err) == (2, b"second\n", b"")
    assert launcher.file("stdout-0.txt") == b"first\nsecond\n"
    assert launcher.file("stderr-0.txt") == b"broken\n"
    assert launcher.message.strip() == "phase=toolkit exit=2 node=here", "these were the former's last words"
    launcher.run("echo now >&2; exit 3")
    assert launcher.message == "phase=toolkit exit=3 node=here\nnow\n"


def test_directories_above_the_jobs_own_are_open_to_later_jobs_of_other_users(launcher: Launcher) -> None:
    share = launcher.root / "share"
    share.mkdir(mode=0o755)
    output = share / "experiment" / "job" / "outputs"
    directories = f"{launcher.root}/logs dir/stdouterr\n{output}"
    code, _, _ = launcher.run("true", BATCHAI_LAUNCH_DIRECTORIES=directories, BATCHAI_LAUNCH_WORK_DIR=str(share))
    assert code == 0
    modes = [path.stat().st_mode & 0o7777 for path in (share, output.parents[1], output.parent, output)]
    assert modes == [0o755, 0o1777, 0o1777, 0o755]


def test_a_mount_that_is_gone_is_no_fault_of_the_process(launcher: Launcher) -> None:
    mount = launcher.root / "data mount"
    mount.mkdir()
    mounts = f"azurefile\tshare\t{launcher.root}\nblobfs\tacc/data\t{mount}"
    code, _, _ = launcher.run(f"rmdir '{mount}'; echo oh >&2; exit 3", BATCHAI_LAUNCH_MOUNTS=mounts)
    assert code == 3
    first, second, third = launcher.message.splitlines()
    assert first.startswith("phase=mounts exit=3 node=here")
    assert second == f"acc/data at {mount} does not work any more: No such file or directory"
    assert third == "oh"
    assert second in launcher.file("execution.log").decode()


def test_a_mount_whose_directory_was_deleted_is_no_fault_of_the_process(launcher: Launcher) -> None:
    """As a bind mount shows it: a directory that is there, with no link."""
    folder = launcher.root / "data"
    folder.mkdir()
    handle = os.open(folder, os.O_DIRECTORY)
    mount = f"/proc/{os.getpid()}/fd/{handle}/."
    try:
        code, _, _ = launcher.run(f"rmdir '{folder}'; exit 3", BATCHAI_LAUNCH_MOUNTS=f"blobfs\tacc/data\t{mount}")
    finally:
        os.close(handle)
    assert code == 3
    assert launcher.message.splitlines()[1] == f"acc/data at {mount} was deleted"


def test_mounts_that_work_and_those_that_never_did_change_nothing(launcher: Launcher) -> None:
    mounts = f"azurefile\tshare\t{launcher.root}\nblobfs\tacc/data\t{launcher.root}/none"
    code, _, _ = launcher.run("exit 3", BATCHAI_LAUNCH_MOUNTS=mounts)
    assert code == 3
    assert launcher.message.startswith("phase=toolkit exit=3 ")


def test_preparation_runs_first_with_its_own_files(launcher: Launcher) -> None:
    code, out, _ = launcher.run("cat made", BATCHAI_LAUNCH_PREPARATION="echo prepared | tee made")
    assert (code, out) == (0, b"prepared\nprepared\n")
    assert launcher.file("stdout-job_prep.txt") == b"prepared\n"
    assert launcher.file("stdout-0.txt") == b"prepared\n"


def test_failed_preparation_is_the_end(launcher: Launcher) -> None:
    code, out, _ = launcher.run("echo no", BATCHAI_LAUNCH_PREPARATION="echo why >&2; exit 7")
    assert (code, out) == (7, b"")
    assert launcher.message == "phase=preparation exit=7 node=here process=job preparation\nwhy\n"


def test_processes_see_their_environment_and_not_the_launchers(launcher: Launcher) -> None:
    code, out, _ = launcher.run(
        'printf "%s|" "$OWN" "$EXTRA" "$(pwd)"; env | grep -c BATCHAI_LAUNCH_',
        OWN="two\nlines 'ä' $HOME",
        BATCHAI_LAUNCH_PROCESS_0_ENVIRONMENT="EXTRA=a b=c\nX=1",
    )
    assert code == 1
    assert out.decode() == f"two\nlines 'ä' $HOME|a b=c|{launcher.root / 'wd'}|0\n"
    assert (launcher.root / "hostfile").read_text() == "me slots=1\n"


def test_sigterm_reaches_every_process_and_what_it_started(launcher: Launcher) -> None:
    # os.write, because the signal may come while the first print still holds the stream.
    child = "import os,signal,time; signal.signal(15, lambda *a: (os.write(1, b'child\\n'), os._exit(0))); "
    child += "print('up', flush=True); time.sleep(30)"
    process = launcher.start(f'trap "echo parent; exit 9" TERM; {sys.executable} -c "{child}"')
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 9
    assert sorted(out.split()) == [b"child", b"parent"]
    assert launcher.message.startswith("phase=terminated exit=9")


def test_sigterm_before_the_preparation_lets_nothing_begin(launcher: Launcher) -> None:
    # A share that answers slowly: its mount is looked at first.
    bundle = launcher.root / "bundle" / "busybox"
    bundle.rename(bundle.with_name("busybox.real"))
    bundle.write_text(
        '#!/bin/sh\n[ "$1" != timeout ] || { touch "${0%/*}/looking"; sleep 1; }\nexec "${0%/*}/busybox.real" "$@"\n'
    )
    bundle.chmod(0o755)
    mounts = f"azurefile\tshare\t{launcher.root}"
    process = launcher.start("echo ran", BATCHAI_LAUNCH_MOUNTS=mounts, BATCHAI_LAUNCH_PREPARATION="echo prepared")
    deadline = time.monotonic() + 10
    while not bundle.with_name("looking").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=10)
    assert (process.returncode, out) == (143, b"")
    assert launcher.message.startswith("phase=terminated exit=143 ")


def test_a_long_report_keeps_its_first_line(launcher: Launcher) -> None:
    """The kubelet keeps the last 4096 bytes."""
    folder = launcher.root / "data"
    folder.mkdir()
    code, _, _ = launcher.run(f"rmdir '{folder}'; exit 3", BATCHAI_LAUNCH_MOUNTS=f"blobfs\t{'x' * 9000}\t{folder}")
    assert code == 3
    assert launcher.message.startswith("phase=mounts exit=3 node=here\nxxx")
    assert len(launcher.message) < 4096


def test_sigkill_after_the_grace_period(launcher: Launcher) -> None:
    process = launcher.start('trap "" TERM; echo up; while :; do sleep 0.1; done')
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 137
    assert 0.8 < time.monotonic() - began < 5


def test_first_process_decides_and_the_others_are_stopped(launcher: Launcher) -> None:
    code, _, _ = launcher.run("sleep 0.3; exit 0", "sleep 60")
    assert code == 0


def test_failure_of_another_process_ends_the_job(launcher: Launcher) -> None:
    code, _, _ = launcher.run("sleep 60", "echo lost >&2; exit 3", BATCHAI_LAUNCH_PROCESS_1_TITLE="rank 1")
    assert code == 3
    assert launcher.message == "phase=toolkit exit=3 node=here process=rank 1\nlost\n"


def test_a_daemon_that_holds_the_pipe_is_not_waited_for_long(launcher: Launcher) -> None:
    began = time.monotonic()
    with launcher.start("setsid sh -c 'echo $$ >pid; exec sleep 30' & sleep 0.3; echo done") as process:
        process.wait(timeout=15)
        os.kill(int((launcher.root / "wd" / "pid").read_text()), signal.SIGKILL)
    assert process.returncode == 0
    assert time.monotonic() - began < 10
    assert launcher.file("stdout-0.txt") == b"done\n"


def test_directories_that_cannot_be_made(launcher: Launcher) -> None:
    (launcher.root / "file").write_text("")
    code, _, err = launcher.run("true", BATCHAI_LAUNCH_DIRECTORIES=str(launcher.root / "file" / "x"))
    assert code == 125
    assert b"could not be created" in err
    assert launcher.message.startswith("phase=directories exit=125 ")


def test_execution_log_has_times(launcher: Launcher) -> None:
    launcher.run("true", BATCHAI_LAUNCH_MOUNTS="azurefile\tlogs\t/m/logs")
    lines = launcher.file("execution.log").decode().splitlines()
    assert all(line[4] == "-" and line[10] == "T" and line[19] == "Z" for line in lines)
    assert any("azurefile\tlogs\t/m/logs" in line for line in lines)
    assert lines[-1].endswith("exits with code 0")
