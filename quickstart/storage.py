"""The quickstart's `az storage` commands, done with Azure's SDKs and AZURE_STORAGE_CONNECTION_STRING.

    python storage.py SCRIPT DATA_DIRECTORY

Makes the shares `scripts` and `logs` and the container `data`, puts SCRIPT into the folder `cntk` of `scripts` and
DATA_DIRECTORY's *28x28_cntk* files below `mnist_cntk` in `data`. What is there already stays or is replaced.
"""

import os
import sys
from pathlib import Path

from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import BlobServiceClient
from azure.storage.fileshare import ShareServiceClient


def upload_script(service: ShareServiceClient, script: Path) -> None:
    """az storage share create, directory create, file upload."""
    for name in ("scripts", "logs"):
        try:
            service.create_share(name)
        except ResourceExistsError:
            print(f"share {name} exists")
    directory = service.get_share_client("scripts").get_directory_client("cntk")
    if not directory.exists():
        directory.create_directory()
    directory.upload_file(script.name, script.read_bytes())


def upload_data(service: BlobServiceClient, data: Path) -> None:
    """az storage container create, blob upload-batch."""
    container = service.get_container_client("data")
    if not container.exists():
        container.create_container()
    for path in sorted(data.glob("*28x28_cntk*")):
        blob = container.get_blob_client(f"mnist_cntk/{path.name}")
        if blob.exists() and blob.get_blob_properties().size == path.stat().st_size:
            continue
        with path.open("rb") as file:
            blob.upload_blob(file, overwrite=True)
        print(f"uploaded {path.name}")


def main(script: str, data: str) -> None:
    """Both."""
    connection = os.environ["AZURE_STORAGE_CONNECTION_STRING"]
    upload_script(ShareServiceClient.from_connection_string(connection), Path(script))
    upload_data(BlobServiceClient.from_connection_string(connection), Path(data))


if __name__ == "__main__":
    main(*sys.argv[1:])
