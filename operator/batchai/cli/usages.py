"""`batchai list-usages`: what the clusters use of what the Kubernetes cluster has (Batch AI reference §1.6).

The service's quotas were of clusters and of vCPUs by family of VM sizes; here the limit of vCPUs is what the nodes
have, and nothing limits the number of clusters.
"""

import re
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from batchai.api import names
from batchai.cli import kube, shapes
from batchai.cli.arguments import Group
from batchai.cli.kube import Object
from batchai.cli.output import Row
from batchai.cli.session import Session
from batchai.schedule.nodes import is_spot

_REGION = "topology.kubernetes.io/region"
_AZURE_SIZE = re.compile(r"standard_([a-z]+)\d.*?(_v\d+)?", re.IGNORECASE)


def register(commands: Group) -> None:
    """Adds the command."""
    parser = commands.command("list-usages", "List what clusters use of the nodes there are.", list_all, _row)
    parser.add_argument("-l", "--location", help="only nodes of this region, and clusters of its workspaces")


def list_all(args: Namespace, session: Session) -> list[Object]:
    """The usages of the whole Kubernetes cluster, or of one region."""
    nodes = session.kube.list(kube.NODES, None, {_REGION: args.location} if args.location else None)
    clusters = session.kube.list(kube.CLUSTERS, None)
    if args.location:
        found = session.kube.list(kube.WORKSPACES, None)
        near = {
            (item["metadata"]["namespace"], item["metadata"]["name"])
            for item in found
            if item["spec"].get("location") == args.location
        }
        clusters = [item for item in clusters if (item["metadata"]["namespace"], item["spec"]["workspace"]) in near]
    return list(usages(nodes, len(clusters)))


def usages(nodes: Iterable[Mapping[str, Any]], clusters: int) -> Iterator[Object]:
    """The usages of these nodes; a node without an instance type can belong to no cluster and is left out."""
    used: dict[str, int] = {}
    limits: dict[str, int] = {}
    for node in nodes:
        labels = node["metadata"].get("labels", {})
        size = labels.get(names.INSTANCE_TYPE_LABEL)
        if not size:
            continue
        priority = "LowPriority" if is_spot(labels) else "Dedicated"
        cpus = _cpus(node.get("status", {}).get("capacity", {}).get("cpu", "0"))
        for name in (f"Total Cluster {priority} Regional vCPUs", f"{_family(size)} Family Cluster {priority} vCPUs"):
            limits[name] = limits.get(name, 0) + cpus
            used[name] = used.get(name, 0) + (cpus if names.LABEL_CLUSTER in labels else 0)
    yield shapes.usage("Clusters", clusters, None)
    for name in sorted(limits, key=lambda name: (not name.startswith("Total"), name)):
        yield shapes.usage(name, used[name], limits[name])


def _family(size: str) -> str:
    """The family of a VM size: `Standard_NC6s_v2` → `Standard NCv2`; other clouds' types stand for themselves."""
    match = _AZURE_SIZE.fullmatch(size)
    return f"Standard {match[1].upper()}{(match[2] or '').lower().lstrip('_')}" if match else size


def _cpus(quantity: str) -> int:
    return int(quantity[:-1]) // 1000 if quantity.endswith("m") else int(quantity)


def _row(usage: Object) -> Row:
    return {"Value": usage["currentValue"], "Usage": usage["name"]["localizedValue"], "Limit": usage["limit"]}
