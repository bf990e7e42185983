"""How many nodes a cluster wants (Batch AI reference §1.2, §7)."""

from batchai.api.cluster import ScaleSettings


def target(settings: ScaleSettings | None, *, demand: int) -> int:
    """Nodes wanted now. demand: nodes that queued and running jobs need, for autoScale."""
    if settings is None:
        return 0
    if settings.manual is not None:
        return settings.manual.target_node_count
    if settings.auto_scale is not None:
        return max(settings.auto_scale.minimum_node_count, min(demand, settings.auto_scale.maximum_node_count))
    return 0


def maximum(settings: ScaleSettings | None) -> int:
    """The most nodes that the cluster can have without a change of its settings."""
    if settings is not None and settings.auto_scale is not None:
        return settings.auto_scale.maximum_node_count
    return target(settings, demand=0)
