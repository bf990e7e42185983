"""The stand-ins refuse what the real drivers refuse."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "azure"))

from node.attributes import BLOB_DRIVER, FILE_DRIVER, Credentials, Rejected, credentials, wanted

POD = {"csi.storage.k8s.io/ephemeral": "true", "csi.storage.k8s.io/pod.namespace": "ns"}
FILE = POD | {"shareName": "logs", "secretName": "s"}
BLOB = POD | {"containerName": "data", "secretName": "s", "protocol": "fuse2"}


def test_a_share() -> None:
    mount = wanted(FILE_DRIVER, FILE | {"mountOptions": "dir_mode=0777,nobrl,ro"})
    assert (mount.name, mount.secret, mount.namespace, mount.read_only) == ("logs", "s", "ns", True)


def test_a_container() -> None:
    mount = wanted(BLOB_DRIVER, BLOB | {"mountOptions": "-o allow_other,--file-cache-timeout-in-seconds=120"})
    assert (mount.name, mount.read_only) == ("data", False)
    assert wanted(BLOB_DRIVER, BLOB | {"mountOptions": "-o ro"}).read_only


IDENTITY = {
    "storageAccount": "acc",
    "clientID": "c",
    "tenantID": "t",
    "mountWithWorkloadIdentityToken": "true",
    "csi.storage.k8s.io/serviceAccount.tokens": '{"api://AzureADTokenExchange": {"token": "x"}}',
}


def test_an_identity_names_the_account() -> None:
    for driver, context in ((FILE_DRIVER, FILE), (BLOB_DRIVER, BLOB)):
        mount = wanted(driver, context | IDENTITY)
        assert (mount.account, mount.secret) == ("acc", "")
        assert wanted(driver, context | {"storageAccount": "acc"}).account == ""


def test_an_account_of_another_place() -> None:
    assert wanted(BLOB_DRIVER, BLOB | {"server": "http://h:1/acc"}).server == "http://h:1/acc"


@pytest.mark.parametrize(
    ("driver", "context", "message"),
    [
        (FILE_DRIVER, FILE | IDENTITY | {"csi.storage.k8s.io/serviceAccount.tokens": "{}"}, "token for audience"),
        (BLOB_DRIVER, BLOB | IDENTITY | {"storageAccount": ""}, "account name"),
        (FILE_DRIVER, POD | {"shareName": "logs", "clientID": "c"}, "secretName must be specified"),
        (FILE_DRIVER, FILE | {"csi.storage.k8s.io/ephemeral": "false"}, "inline volumes only"),
        (FILE_DRIVER, FILE | {"shareNames": "x"}, "invalid parameter shareNames"),
        (FILE_DRIVER, FILE | {"SHARENAME": "x"}, "duplicate parameter"),
        (FILE_DRIVER, POD | {"shareName": "logs"}, "secretName must be specified"),
        (FILE_DRIVER, FILE | {"shareName": "a/b"}, "invalid shareName"),
        (FILE_DRIVER, FILE | {"protocol": "nfs"}, "nfs is not supported"),
        (FILE_DRIVER, FILE | {"mountOptions": "nobrl,bind"}, "bind is not allowed"),
        (FILE_DRIVER, FILE | {"containerName": "x"}, "invalid parameter containerName"),
        (BLOB_DRIVER, BLOB | {"containerName": "A"}, "invalid containerName"),
        (BLOB_DRIVER, BLOB | {"protocol": "nfs"}, "NFS protocol is not supported"),
        (BLOB_DRIVER, BLOB | {"mountOptions": "--use-https=true"}, "--use-https=true is not allowed"),
        (BLOB_DRIVER, BLOB | {"mountOptions": "--tmp-path=/x"}, "--tmp-path=/x is not allowed"),
        (BLOB_DRIVER, BLOB | {"mountOptions": "-o big_writes"}, "Invalid FUSE options: big_writes"),
    ],
)
def test_refusals(driver: str, context: dict[str, str], message: str) -> None:
    with pytest.raises(Rejected, match=message):
        wanted(driver, context)


def test_credentials() -> None:
    file, blob = wanted(FILE_DRIVER, FILE), wanted(BLOB_DRIVER, BLOB)
    account = {"azurestorageaccountname": " acc\n"}
    assert credentials(account | {"azurestorageaccountkey": "k\n"}, file) == Credentials("acc", "k", None)
    assert credentials(account | {"azurestorageaccountsastoken": "?sv"}, blob).sas == "?sv"
    with pytest.raises(Rejected, match="account name"):
        credentials({"azurestorageaccountkey": "k"}, file)
    with pytest.raises(Rejected, match="azurestorageaccountkey"):
        credentials(account | {"azurestorageaccountsastoken": "?sv"}, file)
