"""Builds the stand-in for libnvidia-ml.so.1 (nvml.c)."""

import subprocess
from pathlib import Path

SOURCE = Path(__file__).parent / "nvml.c"
NAME = "libnvidia-ml.so.1"


def build(folder: Path, *options: str) -> Path:
    """The library, in a folder for LD_LIBRARY_PATH. C11 without extensions: it must load on older C libraries too."""
    library = folder / NAME
    warnings = ["-Wall", "-Wextra", "-Werror"]
    command = ["gcc", "-std=c11", "-D_POSIX_C_SOURCE=200809L", "-O1", "-s", "-shared", "-fPIC", *warnings, *options]
    subprocess.run([*command, "-o", library, SOURCE], check=True)
    return library
