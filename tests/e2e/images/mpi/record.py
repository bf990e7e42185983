#!/usr/bin/python3
"""Stands in for the program by whose name it is called: writes what it is given to <program>-<rank>.json in MODEL."""

import json
import os
import sys
from pathlib import Path


def command_line_of_mpirun():
    """Of the one that runs on this node; empty if none does."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        words = file.read_text().split("\0")[:-1]
        if words and Path(words[0]).name == "mpirun":
            return words
    return []


name, rank = Path(sys.argv[0]).name, os.environ.get("RANK", "0")
told = {
    "arguments": sys.argv[1:],
    "environment": dict(os.environ),
    "hosts": Path(os.environ["AZ_BATCHAI_MPI_HOST_FILE"]).read_text(),
    "mpirun": command_line_of_mpirun(),
}
Path(os.environ["AZ_BATCHAI_OUTPUT_MODEL"], f"{name}-{rank}.json").write_text(json.dumps(told))
