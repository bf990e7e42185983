import re

import pytest

from batchai.plan.naming import LONGEST, pod_name, resource_name, unique_resource_name


@pytest.mark.parametrize(
    ("azure", "name"), [("cntk_python_1", "cntk-python-1"), ("NC6", "nc6"), ("-a__B-", "a-b"), ("___", "x")]
)
def test_kubernetes_names(azure: str, name: str) -> None:
    assert resource_name(azure) == name


def test_long_names_are_cut_and_stay_different() -> None:
    names = {resource_name("j" * 60 + end) for end in "abc"}
    assert len(names) == 3
    assert all(len(name) <= LONGEST for name in names)


def test_a_taken_name_gets_a_suffix_of_its_whole_path() -> None:
    one, two = (unique_resource_name("job", "work", experiment) for experiment in ("e1", "e2"))
    assert one != two
    assert re.fullmatch(r"job-[0-9a-f]{6}", one)
    assert len(unique_resource_name("j" * 64, "w", "e")) <= LONGEST


def test_pod_names_fit() -> None:
    assert len(pod_name("j" * LONGEST, 9999, 99999)) <= 63
