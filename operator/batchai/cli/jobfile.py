"""A job.json of 2018 and the options of `job create` as a Job's spec and the Secrets that it needs. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchai.api.job import JobSpec
from batchai.cli import configfile, mounts, secrets
from batchai.cli.accounts import Given
from batchai.cli.configfile import Properties
from batchai.cli.kube import Object
from batchai.cli.problems import UsageProblem


@dataclass(frozen=True)
class JobFile:
    """The properties of a job, completed, still with the secret values that stood in the file.

    source: the file's name, for messages; warnings: sentences for the user; cluster: cluster.id of the file.
    """

    source: str
    properties: Properties = field(repr=False)
    warnings: Sequence[str] = ()
    cluster: str | None = None

    @property
    def keys(self) -> dict[str, str | None]:
        """The storage accounts whose keys the job needs, with the key that stood in the file, if one did."""
        return mounts.inline_keys(self.properties.get("mountVolumes", {}))

    def secrets(self, job: str, namespace: str) -> list[Object]:
        """The Secrets that the job of this Kubernetes name needs for itself."""
        made = []
        values = secrets.values(self.properties.get("secrets"))
        if values:
            made.append(secrets.opaque(_values_name(job), namespace, values))
        source = self._registry()
        credentials = source.get("credentials", {})
        if "password" in credentials:
            login = (source.get("serverUrl"), credentials["username"], credentials["password"])
            made.append(secrets.registry(_registry_name(job), namespace, *login))
        return made

    def spec(self, *, job: str, experiment: str, cluster: str, accounts: Mapping[str, str]) -> Properties:
        """The Job's spec: Kubernetes names of job, experiment and cluster, Secrets in the place of values.

        `accounts`: storage account → Secret.
        """
        spec = {**self.properties, "experiment": experiment, "cluster": cluster}
        if "mountVolumes" in spec:
            spec["mountVolumes"] = mounts.with_secrets(spec["mountVolumes"], accounts)
        if "secrets" in spec:
            spec["secrets"] = secrets.referring(spec["secrets"], _values_name(job))
        source = self._registry()
        if "password" in source.get("credentials", {}):
            reference = {"secretRef": {"name": _registry_name(job)}}
            credentials = {**secrets.without_key(source["credentials"], "password"), **reference}
            source = {**source, "credentials": credentials}
            spec["containerSettings"] = {**spec["containerSettings"], "imageSourceRegistry": source}
        return spec

    def _registry(self) -> Properties:
        settings = self.properties.get("containerSettings", {})
        source: Properties = settings.get("imageSourceRegistry", {})
        return source


def _values_name(job: str) -> str:
    return f"{job}-secrets"


def _registry_name(job: str) -> str:
    return f"{job}-registry"


def read(path: str, options: Mapping[str, Any], given: Given) -> JobFile:
    """The file at `path`, completed. Raises UsageProblem with file and field for what it cannot read, and as below."""
    return complete(configfile.read(path), path, options, given)


def complete(properties: Properties, path: str, options: Mapping[str, Any], given: Given) -> JobFile:
    """The properties that stand in the file at `path` with what the options add: mounts, environment variables.

    Raises UsageProblem with file and field for what it cannot complete, and for what no job can be.
    """
    properties = dict(properties)
    cluster = properties.pop("cluster", None)
    unknown = list(configfile.unknown_fields(JobSpec, properties, "properties"))
    warnings = [f"{path}: ignored, as unknown: {', '.join(unknown)}."] if unknown else []
    configfile.check_shape(JobSpec, properties, f"{path}: properties")
    volumes = properties.get("mountVolumes", {})
    combined = mounts.combine(volumes, options, given, f"{path}: properties.mountVolumes")
    if combined:
        properties["mountVolumes"] = combined
    if options["env"]:
        variables = [_variable(text) for text in options["env"]]
        named = {variable["name"] for variable in variables}
        kept = [item for item in properties.get("environmentVariables", []) if item.get("name") not in named]
        properties["environmentVariables"] = [*kept, *variables]
    configfile.check(JobSpec, {**properties, "experiment": "e", "cluster": "c"}, path)
    _check_registry(properties, path)
    return JobFile(path, properties, warnings, cluster.get("id") if isinstance(cluster, dict) else cluster)


def _check_registry(properties: Properties, path: str) -> None:
    """Raises UsageProblem for a password without its user: no Secret could be made of it."""
    source = properties.get("containerSettings", {}).get("imageSourceRegistry", {})
    credentials = source.get("credentials", {})
    if "password" in credentials and "username" not in credentials:
        field = "properties.containerSettings.imageSourceRegistry.credentials.username"
        raise UsageProblem(f"{path}: {field}: is missing.", "Name the user whose password stands there.")


def _variable(text: str) -> Properties:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise UsageProblem(f"--env '{text}' is not NAME=VALUE.")
    return {"name": name, "value": value}
