"""A directory in an Azure file share."""

from contextlib import AbstractContextManager, suppress
from datetime import datetime
from typing import BinaryIO

from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.fileshare import (
    DirectoryProperties,
    FileProperties,
    FileSasPermissions,
    ShareClient,
    ShareFileClient,
    generate_file_sas,
)

from batchai.storage.account import StorageAccount
from batchai.storage.directory import Entry, join
from batchai.storage.failures import CLIENT_OPTIONS, credential, translated


class ShareDirectory:
    """`Directory` over Azure Files; see the protocol for the contract of its methods."""

    def __init__(self, account: StorageAccount, share: str, path: str, *, host: str | None = None) -> None:
        self._account = account
        self._endpoint = account.endpoint("file", host)
        self._path = path
        self._folders: set[str] = set()
        self._share = ShareClient(self._endpoint, share, credential=credential(account), **CLIENT_OPTIONS)

    def entries(self, path: str) -> list[Entry]:
        """The direct children."""
        with self._translated(path):
            folder = self._share.get_directory_client(join(self._path, path))
            # Times are not part of a listing unless asked for.
            listed = folder.list_directories_and_files(include=["timestamps", "ETag"])
            return sorted((_entry(item) for item in listed), key=lambda entry: entry.name)

    def find(self, path: str) -> Entry | None:
        """A file's properties."""
        with self._translated(path):
            try:
                return _entry(self._file(path).get_file_properties())
            except ResourceNotFoundError:
                return None

    def read(self, path: str, offset: int, length: int) -> bytes:
        """A range of a file."""
        with self._translated(path):
            try:
                return self._file(path).download_file(offset=offset, length=length).readall()
            except HttpResponseError as error:
                if error.status_code == 416:  # at or past the end
                    return b""
                raise

    def write(self, path: str, content: BinaryIO, length: int) -> None:
        """Creates the file and its parent directories; those that were seen once are not asked for again."""
        with self._translated(path):
            parents = join(self._path, path).split("/")[:-1]
            for depth in range(1, len(parents) + 1):
                folder = "/".join(parents[:depth])
                if folder not in self._folders:
                    with suppress(ResourceExistsError):
                        self._share.create_directory(folder)
                    self._folders.add(folder)
            self._file(path).upload_file(content, length=length)

    def url(self, path: str, expiry: datetime) -> str | None:
        """A URL with a SAS for reading this file; None without the key, which alone can sign one."""
        if self._account.key is None:
            return None
        sas = generate_file_sas(
            self._account.name,
            self._share.share_name,
            join(self._path, path).split("/"),
            account_key=self._account.key,
            permission=FileSasPermissions(read=True),
            expiry=expiry,
            protocol="https" if self._endpoint.startswith("https:") else None,
        )
        return f"{self._file(path).url}?{sas}"

    def close(self) -> None:
        """Closes the connections."""
        self._share.close()

    def _translated(self, path: str) -> AbstractContextManager[None]:
        what = f"'{self._share.share_name}/{join(self._path, path)}'"
        return translated(self._account, self._endpoint, what)

    def _file(self, path: str) -> ShareFileClient:
        return self._share.get_file_client(join(self._path, path))


def _entry(item: FileProperties | DirectoryProperties) -> Entry:
    if not isinstance(item, FileProperties):
        return Entry(item.name, is_directory=True)
    # A listing has no quotes around ETags.
    version = (item.etag or "").strip('"') or None
    return Entry(item.name, is_directory=False, size=item.size, modified=item.last_modified, version=version)
