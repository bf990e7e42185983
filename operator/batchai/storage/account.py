"""A storage account as its users hold it: its name, a credential and its REST endpoints. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from batchai.errors import SpecError

Service = Literal["file", "blob"]


@dataclass(frozen=True)
class StorageAccount:
    """Name and key (or SAS token) of an account, and endpoints where they are not Azure's public ones."""

    name: str
    key: str | None = field(default=None, repr=False)
    sas_token: str | None = field(default=None, repr=False)
    endpoints: Mapping[Service, str] = field(default_factory=dict)

    def endpoint(self, service: Service, host: str | None = None) -> str:
        """The service's REST endpoint; `host` is a job's own word for it, as in sovereign clouds."""
        return self.endpoints.get(service) or f"https://{host or public_host(self.name, service)}"


def public_host(account: str, service: Service) -> str:
    """The host of an account in Azure's public cloud."""
    return f"{account}.{service}.core.windows.net"


def parse_connection_string(text: str) -> StorageAccount:
    """The account of an Azure storage connection string (`AccountName=..;AccountKey=..;FileEndpoint=..`).

    Raises SpecError, without any of the text, if it names no account.
    """
    parts = dict(part.split("=", 1) for part in text.strip().split(";") if "=" in part)
    name = parts.get("AccountName")
    if not name:
        raise SpecError("AZURE_STORAGE_CONNECTION_STRING", "names no account; it needs AccountName=<account>")
    scheme = parts.get("DefaultEndpointsProtocol", "https")
    suffix = parts.get("EndpointSuffix", "core.windows.net")
    endpoints: dict[Service, str] = {}
    for service in ("file", "blob"):
        given = parts.get(f"{service.capitalize()}Endpoint", f"{scheme}://{name}.{service}.{suffix}").rstrip("/")
        if given != f"https://{public_host(name, service)}":
            endpoints[service] = given
    token = parts.get("SharedAccessSignature")
    return StorageAccount(name, parts.get("AccountKey"), token.removeprefix("?") if token else None, endpoints)
