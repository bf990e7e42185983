"""A directory in a blob container: blobs whose names begin with a path."""

from contextlib import AbstractContextManager
from datetime import datetime
from typing import BinaryIO

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.blob import (
    BlobClient,
    BlobPrefix,
    BlobProperties,
    BlobSasPermissions,
    ContainerClient,
    generate_blob_sas,
)

from batchai.errors import StorageError
from batchai.storage.account import StorageAccount
from batchai.storage.directory import Entry, join
from batchai.storage.failures import CLIENT_OPTIONS, credential, translated


class ContainerDirectory:
    """`Directory` over Blob storage; see the protocol for the contract of its methods.

    A container knows no folders: one exists while a blob lies in it or marks it (`hdi_isfolder`, as
    blobfuse does).
    """

    def __init__(self, account: StorageAccount, container: str, path: str) -> None:
        self._account = account
        self._endpoint = account.endpoint("blob")
        self._path = path
        self._container = ContainerClient(self._endpoint, container, credential=credential(account), **CLIENT_OPTIONS)

    def entries(self, path: str) -> list[Entry]:
        """The direct children."""
        full = join(self._path, path)
        prefix = f"{full}/" if full else ""
        found: dict[str, Entry] = {}
        with self._translated(path):
            for item in self._container.walk_blobs(name_starts_with=prefix, include=["metadata"]):
                entry = _entry(item, prefix)
                # A folder may be listed twice, as its marker and as the prefix of what is in it.
                if entry.name and not (entry.name in found and found[entry.name].is_directory):
                    found[entry.name] = entry
        if not found:
            raise StorageError(
                f"'{self._container.container_name}/{full}' holds nothing in storage account '{self._account.name}'",
                not_found=True,
            )
        return sorted(found.values(), key=lambda entry: entry.name)

    def find(self, path: str) -> Entry | None:
        """A blob's properties."""
        with self._translated(path):
            try:
                return _entry(self._blob(path).get_blob_properties(), "")
            except ResourceNotFoundError:
                return None

    def read(self, path: str, offset: int, length: int) -> bytes:
        """A range of a blob."""
        with self._translated(path):
            try:
                return self._blob(path).download_blob(offset=offset, length=length).readall()
            except HttpResponseError as error:
                if error.status_code == 416:  # at or past the end
                    return b""
                raise

    def write(self, path: str, content: BinaryIO, length: int) -> None:
        """Uploads a blob; a container knows no folders."""
        with self._translated(path):
            self._blob(path).upload_blob(content, length=length, overwrite=True)

    def url(self, path: str, expiry: datetime) -> str | None:
        """A URL with a SAS for reading this blob; None without the key, which alone can sign one."""
        if self._account.key is None:
            return None
        sas = generate_blob_sas(
            self._account.name,
            self._container.container_name,
            join(self._path, path),
            account_key=self._account.key,
            permission=BlobSasPermissions(read=True),
            expiry=expiry,
            protocol="https" if self._endpoint.startswith("https:") else None,
        )
        return f"{self._blob(path).url}?{sas}"

    def close(self) -> None:
        """Closes the connections."""
        self._container.close()

    def _translated(self, path: str) -> AbstractContextManager[None]:
        what = f"'{self._container.container_name}/{join(self._path, path)}'"
        return translated(self._account, self._endpoint, what)

    def _blob(self, path: str) -> BlobClient:
        return self._container.get_blob_client(join(self._path, path))


def _entry(item: BlobProperties | BlobPrefix, prefix: str) -> Entry:
    name = item.name.removeprefix(prefix).rstrip("/")
    if isinstance(item, BlobPrefix) or (item.metadata or {}).get("hdi_isfolder") == "true":
        return Entry(name, is_directory=True)
    # A listing has no quotes around ETags.
    version = (item.etag or "").strip('"') or None
    return Entry(name, is_directory=False, size=item.size, modified=item.last_modified, version=version)
