from batchai.kube.client import JOBS, NODES, PODS


def test_paths() -> None:
    assert PODS.path() == "/api/v1/pods"
    assert PODS.path("ns", "p") == "/api/v1/namespaces/ns/pods/p"
    assert NODES.path("ignored", "n") == "/api/v1/nodes/n"
    assert JOBS.path("ns", "j", "status") == "/apis/batchai.dev/v1alpha1/namespaces/ns/jobs/j/status"
