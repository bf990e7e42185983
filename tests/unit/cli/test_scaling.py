from typing import Any

import pytest

from batchai.cli.problems import UsageProblem
from batchai.cli.scaling import image_reference, scale_settings


def manual(count: int) -> dict[str, Any]:
    return {"manual": {"targetNodeCount": count, "nodeDeallocationOption": "requeue"}}


def auto(minimum: int, maximum: int, initial: int) -> dict[str, Any]:
    return {
        "autoScale": {
            "minimumNodeCount": minimum,
            "maximumNodeCount": maximum,
            "initialNodeCount": initial,
        }
    }


@pytest.mark.parametrize(
    ("target", "minimum", "maximum", "settings"),
    [
        (None, None, None, None),
        (1, None, None, manual(1)),
        (0, None, None, manual(0)),
        (None, 2, 2, manual(2)),
        (2, 2, 2, manual(2)),
        (1, 2, 2, auto(2, 2, 1)),
        (None, 0, 4, auto(0, 4, 0)),
        (3, 0, 4, auto(0, 4, 3)),
    ],
)
def test_scale_settings(
    target: int | None, minimum: int | None, maximum: int | None, settings: dict[str, Any] | None
) -> None:
    assert scale_settings(target, minimum, maximum) == settings


@pytest.mark.parametrize(("minimum", "maximum"), [(1, None), (None, 1), (2, 1)])
def test_bounds_that_do_not_make_sense(minimum: int | None, maximum: int | None) -> None:
    with pytest.raises(UsageProblem, match="--min"):
        scale_settings(None, minimum, maximum)


@pytest.mark.parametrize("alias", ["UbuntuDSVM", "ubuntudsvm"])
def test_image_alias(alias: str) -> None:
    assert image_reference(alias, None) == {
        "publisher": "microsoft-ads",
        "offer": "linux-data-science-vm-ubuntu",
        "sku": "linuxdsvmubuntu",
        "version": "latest",
    }


def test_image_in_full_with_an_empty_version_and_a_custom_image() -> None:
    assert image_reference("Canonical:UbuntuServer:18.04-LTS:", "/images/own") == {
        "publisher": "Canonical",
        "offer": "UbuntuServer",
        "sku": "18.04-LTS",
        "version": "latest",
        "virtualMachineImageId": "/images/own",
    }


@pytest.mark.parametrize(("image", "custom"), [("a:b:c", None), ("a::c:d", None), ("", None), (None, "/i")])
def test_what_is_no_image(image: str | None, custom: str | None) -> None:
    with pytest.raises(UsageProblem, match="--image"):
        image_reference(image, custom)


def test_no_image() -> None:
    assert image_reference(None, None) is None
