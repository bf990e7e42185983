"""A patch turns the old object into the new one, as RFC 7386 applies it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from batchai.plan.diff import merge_patch

scalars = st.booleans() | st.integers(-3, 3) | st.text(max_size=3)
values = st.recursive(
    scalars | st.lists(scalars, max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from("abcd"), values, max_size=4)


def apply(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = apply(result.get(name), value)
    return result


@given(objects, objects)
def test_old_and_patch_make_new(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert apply(old, merge_patch(old, new)) == new


@given(objects)
def test_nothing_to_do_is_an_empty_patch(same: dict[str, Any]) -> None:
    assert merge_patch(same, same) == {}
