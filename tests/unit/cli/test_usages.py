from typing import Any

import pytest
from tests.unit.cli.fakes import Terminal

from batchai.cli.kube import CLUSTERS, NODES, WORKSPACES
from batchai.cli.usages import usages


def node(size: str | None, cpus: str, *, owned: bool = False, **labels: str) -> dict[str, Any]:
    own = {"node.kubernetes.io/instance-type": size} if size else {}
    cluster = {"batchai.dev/cluster": "c"} if owned else {}
    named = {name.replace("_", "/"): value for name, value in labels.items()}
    return {"metadata": {"name": "n", "labels": {**own, **cluster, **named}}, "status": {"capacity": {"cpu": cpus}}}


@pytest.mark.parametrize(
    ("size", "family"),
    [
        ("Standard_NC6", "Standard NC"),
        ("STANDARD_NC24r", "Standard NC"),
        ("Standard_NC6s_v2", "Standard NCv2"),
        ("Standard_ND40rs_v2", "Standard NDv2"),
        ("Standard_D2_v2", "Standard Dv2"),
        ("p3.2xlarge", "p3.2xlarge"),
    ],
)
def test_families(size: str, family: str) -> None:
    names = [usage["name"]["value"] for usage in usages([node(size, "2")], 0)]
    assert names[-1] == f"{family} Family Cluster Dedicated vCPUs"


def test_what_is_used_and_what_there_is() -> None:
    spot = {"metadata": {"name": "s", "labels": {}}, "status": {"capacity": {"cpu": "8000m"}}}
    spot["metadata"]["labels"] = {  # type: ignore[index]
        "node.kubernetes.io/instance-type": "Standard_NC6",
        "kubernetes.azure.com/scalesetpriority": "spot",
    }
    nodes = [node("Standard_NC6", "6", owned=True), node("standard_nc12", "12"), spot, node(None, "99")]
    assert [(each["name"]["value"], each["currentValue"], each["limit"]) for each in usages(nodes, 3)] == [
        ("Clusters", 3, None),
        ("Total Cluster Dedicated Regional vCPUs", 6, 18),
        ("Total Cluster LowPriority Regional vCPUs", 0, 8),
        ("Standard NC Family Cluster Dedicated vCPUs", 6, 18),
        ("Standard NC Family Cluster LowPriority vCPUs", 0, 8),
    ]


def test_usages_of_a_region() -> None:
    terminal = Terminal()
    for space, location in (("here", "eastus"), ("there", "westus")):
        metadata = {"namespace": "ns"}
        terminal.kube.put(WORKSPACES, {"metadata": {**metadata, "name": space}, "spec": {"location": location}})
        terminal.kube.put(CLUSTERS, {"metadata": {**metadata, "name": f"c-{space}"}, "spec": {"workspace": space}})
        made = node("Standard_NC6", "6")
        made["metadata"] |= {"name": space, "labels": {**made["metadata"]["labels"]}}
        made["metadata"]["labels"]["topology.kubernetes.io/region"] = location
        terminal.kube.put(NODES, made)
    assert terminal.run("list-usages -o tsv --query", "[].[name.value, currentValue, limit]").splitlines() == [
        "Clusters\t2\t",
        "Total Cluster Dedicated Regional vCPUs\t0\t12",
        "Standard NC Family Cluster Dedicated vCPUs\t0\t12",
    ]
    table = terminal.run("list-usages -l eastus -o table").splitlines()
    assert table[0].split() == ["Value", "Usage", "Limit"]
    assert table[2].split() == ["1", "Clusters"]
    assert table[3].split()[-1] == "6"
