"""A file server's config file and the options of `file-server create` as a FileServer's spec."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchai.api.fileserver import FileServerSpec
from batchai.cli import configfile, ssh
from batchai.cli.configfile import Properties
from batchai.cli.problems import UsageProblem

_OPTIONS = {
    "diskCount": "disk_count",
    "diskSizeInGB": "disk_size",
    "storageAccountType": "storage_sku",
    "cachingType": "caching_type",
}
_REQUIRED = {
    "diskCount": "Give --disk-count.",
    "diskSizeInGB": "Give --disk-size.",
    "storageAccountType": "Give --storage-sku.",
}


@dataclass(frozen=True)
class FileServerFile:
    """The properties of a file server. source: the file's name, for messages; warnings: sentences for the user."""

    source: str
    properties: Properties
    warnings: Sequence[str] = ()


def read(options: Mapping[str, Any], current_user: Callable[[], str]) -> FileServerFile:
    """The file of -f, if there is one, under what the options say (Batch AI reference §8).

    Raises UsageProblem for what it cannot read, and for what no file server can be.
    """
    path = options["config_file"]
    source = path or "options"
    properties = configfile.read(path) if path else {}
    unknown = list(configfile.unknown_fields(FileServerSpec, properties, "properties"))
    warnings = [f"{source}: ignored, as unknown: {', '.join(unknown)}."] if unknown else []
    configfile.check_shape(FileServerSpec, properties, f"{source}: properties")
    access = properties.get("sshConfiguration", {})
    account, said = ssh.administrator(access.get("userAccountSettings", {}), options, current_user)
    given = {field: options[name] for field, name in _OPTIONS.items() if options[name] is not None}
    disks = {**properties.get("dataDisks", {}), **given}
    settings = {
        "vmSize": options["vm_size"],
        "subnet": {"id": options["subnet"]} if options["subnet"] else None,
        "sshConfiguration": {**access, "userAccountSettings": account},
        "dataDisks": disks,
    }
    properties = {**properties, **{name: value for name, value in settings.items() if value}}
    if "vmSize" not in properties:
        raise UsageProblem("the file server has no vmSize.", "Give --vm-size.")
    for name, remedy in _REQUIRED.items():
        if name not in disks:
            raise UsageProblem(f"the file server has no dataDisks.{name}.", remedy)
    configfile.check(FileServerSpec, {**properties, "workspace": "w"}, source)
    return FileServerFile(source, properties, [*warnings, *said])
