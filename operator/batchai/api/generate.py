"""`python -m batchai.api.generate --write|--check`: crds/, docs/fields.md and docs/permissions.md.

Batch AI reference §8 gives the columns: what `az batchai … -o table` showed.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from batchai.api import cluster, experiment, fileserver, job, workspace
from batchai.api.crdgen import Column, Kind, crd
from batchai.api.schema import Rule

_ROOT = Path(__file__).parents[3]

_IMMUTABLE = "the spec of this kind cannot be changed: delete the resource and create it again"


# Other resources refer to these kinds by name, and the names are values of labels.
_NAME = Rule("self.metadata.name.size() <= 63", "metadata.name must have at most 63 characters")


def _only(mutable: str, model: Any, remedy: str) -> Rule:
    """No other field of a spec may change. One rule, because each costs every write of a status."""
    fields = [info.alias or name for name, info in model.model_fields.items() if (info.alias or name) != mutable]
    same = {
        field: f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
        for field in fields
    }
    *others, last = fields
    first = "".join(f"!({same[field]}) ? '{field}' : " for field in others)
    return Rule(
        f"self == oldSelf || ({' && '.join(f'({rule})' for rule in same.values())})",
        f"only {mutable} can be changed: {remedy}",
        f"({first}'{last}') + ' cannot be changed, only {mutable} can: {remedy}'",
    )


KINDS = (
    Kind(
        name="Workspace",
        plural="workspaces",
        short="bws",
        model=workspace.Workspace,
        columns=[
            Column("Location", ".spec.location"),
            Column("State", ".status.provisioningState"),
        ],
        rules=[_NAME],
    ),
    Kind(
        name="Cluster",
        plural="clusters",
        short="bcluster",
        model=cluster.Cluster,
        columns=[
            Column("Workspace", ".spec.workspace"),
            Column("VM Size", ".spec.vmSize"),
            Column("State", ".status.allocationState"),
            Column("Target", ".spec.scaleSettings.manual.targetNodeCount", "integer"),
            Column("Idle", ".status.nodeStateCounts.idleNodeCount", "integer"),
            Column("Running", ".status.nodeStateCounts.runningNodeCount", "integer"),
            Column("Preparing", ".status.nodeStateCounts.preparingNodeCount", "integer"),
            Column("Leaving", ".status.nodeStateCounts.leavingNodeCount", "integer"),
            Column("Unusable", ".status.nodeStateCounts.unusableNodeCount", "integer"),
            Column("Problem", ".status.errors[0].message"),
            Column("Nodes", '.status.conditions[?(@.type=="NodesAvailable")].message', priority=1),
        ],
        rules=[_NAME],
        spec_rules=[_only("scaleSettings", cluster.ClusterSpec, "delete the Cluster and create it again")],
        scale={
            "specReplicasPath": ".spec.scaleSettings.manual.targetNodeCount",
            "statusReplicasPath": ".status.currentNodeCount",
        },
    ),
    Kind(
        name="FileServer",
        plural="fileservers",
        short="bfs",
        model=fileserver.FileServer,
        columns=[
            Column("Workspace", ".spec.workspace"),
            Column("Size", ".spec.vmSize"),
            Column("Disks", ".spec.dataDisks.diskCount", "integer"),
            Column("State", ".status.provisioningState"),
            Column("Mount Point", ".status.mountSettings.mountPoint"),
            Column("Address", ".status.mountSettings.fileServerInternalIP"),
            Column("Problem", '.status.conditions[?(@.type=="Ready")].message'),
        ],
        rules=[_NAME],
        spec_rules=[_only("reclaimPolicy", fileserver.FileServerSpec, "delete the FileServer and create it again")],
    ),
    Kind(
        name="Experiment",
        plural="experiments",
        short="bexp",
        model=experiment.Experiment,
        columns=[
            Column("Workspace", ".spec.workspace"),
            Column("State", ".status.provisioningState"),
        ],
        rules=[_NAME],
        spec_rules=[Rule("self == oldSelf", _IMMUTABLE)],
    ),
    Kind(
        name="Job",
        plural="jobs",
        short="bjob",
        model=job.Job,
        columns=[
            Column("Cluster", ".spec.cluster"),
            Column("Tool", ".status.toolType"),
            Column("Nodes", ".spec.nodeCount", "integer"),
            Column("State", ".status.executionState"),
            Column("Exit Code", ".status.executionInfo.exitCode", "integer"),
            Column("Queue", ".status.queuePosition", "integer", priority=1),
            Column("Waiting", ".status.waiting.message", priority=1),
        ],
        rules=job.RESOURCE_RULES,
        spec_rules=[
            *job.SPEC_RULES,
            _only("terminate", job.JobSpec, "create another Job"),
        ],
        selectable=[".spec.cluster", ".spec.experiment"],
    ),
)


class _Dumper(yaml.SafeDumper):
    """Block style without aliases: the files are read by people."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def artefacts() -> dict[Path, str]:
    """Every generated file below the repository's root with its text."""
    note = "# Generated from operator/batchai/api by `make generate`.\n"
    files = {
        Path("crds", f"{kind.plural}.yaml"): note + yaml.dump(crd(kind), Dumper=_Dumper, sort_keys=False, width=120)
        for kind in KINDS
    }
    resources = "".join(f"  - {path.name}\n" for path in sorted(files))
    files[Path("crds", "kustomization.yaml")] = f"{note}resources:\n{resources}"
    files[Path("docs", "fields.md")] = _documentation()
    files[Path("docs", "permissions.md")] = _permissions()
    return files


def _documentation() -> str:
    lines = [
        "# Fields",
        "",
        "Generated from `operator/batchai/api` by `make generate`; `kubectl explain` says the same.",
        "",
    ]
    for kind in KINDS:
        schema = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        lines += [
            f"## {kind.name} (`{kind.short}`)",
            "",
            schema["description"],
            "",
            "| Field | Type | Meaning |",
            "| --- | --- | --- |",
        ]
        for part in ("spec", "status"):
            lines += [
                f"| `{path}` | {kind_} | {text} |" for path, kind_, text in _rows(schema["properties"][part], part)
            ]
        rules = [rule["message"] for rule in _rules(schema)]
        if rules:
            lines += ["", "Rules:", "", *(f"- {message}" for message in dict.fromkeys(rules))]
        lines.append("")
    return "\n".join(lines)


def _permissions() -> str:
    """The rights of the operator and of the node health agent as tables, read from their roles."""
    operator = _rights(Path("manifests", "rbac.yaml"))
    agent = _rights(Path("manifests", "agent", "rbac.yaml"))
    note = "An admission policy narrows what it writes to its own node's condition and taint."
    lines = ["# Permissions of the operator", "", *operator, "", "## The node health agent", "", *agent]
    return "\n".join([*lines, "", note, ""])


def _rights(manifest: Path) -> list[str]:
    """A table of the roles in a manifest."""
    documents = yaml.safe_load_all((_ROOT / manifest).read_text(encoding="utf-8"))
    lines = [
        f"Generated from `{manifest}` by `make generate`.",
        "",
        "| Where | Resources | Names | Verbs |",
        "| --- | --- | --- | --- |",
    ]
    for role in documents:
        where = {"ClusterRole": "everywhere", "Role": f"in {role['metadata'].get('namespace')}"}.get(role["kind"])
        for rule in role.get("rules", ()):
            group = rule["apiGroups"][0]
            resources = ", ".join(
                "/".join([f"{name}.{group}" if group else name, *sub])
                for name, *sub in (resource.split("/") for resource in rule["resources"])
            )
            only = ", ".join(rule.get("resourceNames", ["any"]))
            lines.append(f"| {where} | {resources} | {only} | {', '.join(rule['verbs'])} |")
    return lines


def _rows(schema: dict[str, Any], path: str) -> Iterator[tuple[str, str, str]]:
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        kind = field["type"]
        inner = field
        suffix = ""
        if kind == "array":
            inner, suffix = field["items"], "[]"
            kind = f"list of {inner['type']}"
        if "enum" in field:
            kind = ", ".join(f"`{value}`" for value in field["enum"])
        star = " (required)" if name in required else ""
        yield f"{path}.{name}{suffix}", kind + star, field.get("description", inner.get("description", ""))
        yield from _rows(inner, f"{path}.{name}{suffix}")


def _rules(schema: dict[str, Any]) -> Iterator[dict[str, str]]:
    yield from schema.get("x-kubernetes-validations", ())
    for field in schema.get("properties", {}).values():
        yield from _rules(field)
    if "items" in schema:
        yield from _rules(schema["items"])


def main(arguments: list[str]) -> int:
    """Writes the files, or names those that differ and returns 1."""
    parser = argparse.ArgumentParser(prog="batchai.api.generate")
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--write", action="store_true")
    mode.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    drift = []
    for path, text in artefacts().items():
        target = _ROOT / path
        if options.write:
            target.parent.mkdir(exist_ok=True)
            target.write_text(text, encoding="utf-8")
        elif not target.exists() or target.read_text(encoding="utf-8") != text:
            drift.append(str(path))
    if drift:
        sys.stderr.write(f"not what the models say: {', '.join(drift)}; run 'make generate'\n")
    return 1 if drift else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
