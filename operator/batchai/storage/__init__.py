"""Directories in Azure Files and Blob storage: listing, reading by ranges, writing, URLs that download.

The only place that speaks to Azure storage. It knows nothing of Kubernetes.
"""

from batchai.plan.directories import StorageLocation
from batchai.storage.account import StorageAccount
from batchai.storage.directory import Directory


def open_directory(location: StorageLocation, account: StorageAccount) -> Directory:
    """The directory at `location`; nothing is asked of the storage yet."""
    # The SDKs take long to import, and most commands need neither.
    if location.kind == "file":
        from batchai.storage.files import ShareDirectory  # noqa: PLC0415

        return ShareDirectory(account, location.container, location.path, host=location.host)
    from batchai.storage.blobs import ContainerDirectory  # noqa: PLC0415

    return ContainerDirectory(account, location.container, location.path)
