"""-t, --min, --max and -i as the properties that az makes of them. Pure."""

from typing import Any

from batchai.cli.problems import UsageProblem

_ALIASES = {
    "ubuntults": "Canonical:UbuntuServer:16.04-LTS:latest",
    "ubuntudsvm": "microsoft-ads:linux-data-science-vm-ubuntu:linuxdsvmubuntu:latest",
}


def scale_settings(target: int | None, minimum: int | None, maximum: int | None) -> dict[str, Any] | None:
    """scaleSettings of the options, None if none is given (Batch AI reference §8).

    -t alone, or min = max (= t), is manual; else autoScale, whose initial size is the target.
    """
    if minimum is None and maximum is None:
        return None if target is None else {"manual": manual(target)}
    if minimum is None or maximum is None:
        raise UsageProblem("--min and --max belong together.", "Give both, or -t alone for a fixed size.")
    if minimum == maximum and target in (None, minimum):
        return {"manual": manual(minimum)}
    return {"autoScale": automatic(minimum, maximum, target or 0)}


def image_reference(image: str | None, custom_image: str | None) -> dict[str, Any] | None:
    """imageReference of -i and --custom-image, None if neither is given (reference §8)."""
    if image is None:
        if custom_image:
            raise UsageProblem("--custom-image needs --image.", "Name the image that it was made of with -i.")
        return None
    parts = _ALIASES.get(image.lower(), image).split(":")
    if len(parts) != 4 or not all(parts[:3]):
        raise UsageProblem(
            f"--image '{image}' is no image.",
            "Give UbuntuLTS, UbuntuDSVM or publisher:offer:sku:version (the version may be empty).",
        )
    reference = dict(zip(("publisher", "offer", "sku", "version"), parts, strict=True))
    reference["version"] = reference["version"] or "latest"
    return {**reference, **({"virtualMachineImageId": custom_image} if custom_image else {})}


def manual(count: int) -> dict[str, Any]:
    """scaleSettings.manual, as az sends it."""
    return {"targetNodeCount": count, "nodeDeallocationOption": "requeue"}


def automatic(minimum: int, maximum: int, initial: int = 0) -> dict[str, Any]:
    """scaleSettings.autoScale, as az sends it. Raises UsageProblem if the bounds are not in order."""
    if minimum > maximum:
        raise UsageProblem(f"--min {minimum} is greater than --max {maximum}.")
    return {"minimumNodeCount": minimum, "maximumNodeCount": maximum, "initialNodeCount": initial}
