from typing import Any
from weakref import ref

from tests.unit.builders import job_raw

from batchai.reconcile.models import JobModels, Versions


def versioned(name: str, version: str) -> dict[str, Any]:
    raw = job_raw(name)
    return raw | {"metadata": raw["metadata"] | {"uid": name, "resourceVersion": version}}


def test_a_job_is_read_once_per_version_while_its_model_is_kept() -> None:
    models = JobModels()
    first = models.of(versioned("a", "1"))
    assert models.of(versioned("a", "1")) is first
    later = models.of(versioned("a", "2"))
    assert later.metadata.resource_version == "2"
    assert models.of(versioned("a", "2")) is later
    forgotten = ref(first)
    del first
    assert forgotten() is None, "nothing keeps models of jobs that nobody looks at"


def test_only_what_changed_is_made_again_and_what_went_is_forgotten() -> None:
    made: list[str] = []

    def make(item: dict[str, Any]) -> str:
        made.append(f"{item['metadata']['name']}{item['metadata']['resourceVersion']}")
        return made[-1]

    versions = Versions(make)
    assert versions.read([versioned("a", "1"), versioned("b", "1")]) == ["a1", "b1"]
    assert versions.read([versioned("a", "1"), versioned("b", "2")]) == ["a1", "b2"]
    assert versions.read([versioned("b", "2")]) == ["b2"]
    assert versions.read([versioned("a", "1"), versioned("b", "2")]) == ["a1", "b2"]
    assert made == ["a1", "b1", "b2", "a1"]
