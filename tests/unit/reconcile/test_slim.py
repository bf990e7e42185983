from typing import Any

import pytest
from tests.unit.builders import pod_raw

from batchai.api import names
from batchai.reconcile.slim import own_pod


def test_of_a_jobs_pod_everything_but_its_spec_is_kept() -> None:
    kept = own_pod(pod_raw() | {"spec": {"nodeName": "n1", "containers": []}})
    assert kept is not None
    assert kept["spec"] == {"nodeName": "n1"}
    assert kept["metadata"] == pod_raw()["metadata"]


@pytest.mark.parametrize(
    "change",
    [
        *({label: ""} for label in (names.LABEL_JOB_UID, names.LABEL_CLUSTER, names.LABEL_ATTEMPT, names.LABEL_INDEX)),
        {names.LABEL_INDEX: "first"},
    ],
)
def test_a_pod_that_only_says_to_be_a_jobs_is_left_out(change: dict[str, str]) -> None:
    pod: dict[str, Any] = pod_raw()
    labels = {names.LABEL_JOB_UID: "u", names.LABEL_CLUSTER: "nc6", names.LABEL_ATTEMPT: "1", names.LABEL_INDEX: "0"}
    pod["metadata"]["labels"] = {names.LABEL_JOB: "train", **labels}
    assert own_pod(pod) is not None
    pod["metadata"]["labels"] |= change
    assert own_pod(pod) is None
    del pod["metadata"]["labels"][next(iter(change))]
    assert own_pod(pod) is None


def test_pods_of_clusters_have_no_such_labels() -> None:
    assert own_pod({"metadata": {"labels": {names.LABEL_SETUP: "nc6"}}}) is not None
