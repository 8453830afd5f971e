"""What a pod is granted, and what it starts with: the part of the API that speaks of CPU and memory.

May not decide anything.
"""

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType, field

from corefit_core.api.part import Part
from corefit_core.sizing import MIN_MILLICORES

MIN_MEMORY: Final = "128Mi"
"""Python, numpy, onnxruntime and aiohttp take about 100 MB resident before any model is loaded."""

Quantity = int | str


def _quantity(description: str) -> Meta:
    return Meta(description=description, extra_json_schema={"x-kubernetes-int-or-string": True, "maxLength": 32})


def _at_least(field: str, least: str, why: str) -> tuple[tuple[str, str], tuple[str, str]]:
    is_quantity = f"isQuantity(string(self.{field}))"
    return (
        (is_quantity, f"{field} must be a quantity such as 500m, 2, 512Mi or 1Gi"),
        (
            f"!{is_quantity} || quantity(string(self.{field})).compareTo(quantity('{least}')) >= 0",
            f"{field} must be at least {least}: {why}",
        ),
    )


def _not_below(path: str, other: str, message: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Rules for an optional quantity at `path` (below self) that must not be less than the one at `other`."""
    steps = path.split(".")
    absent = " || ".join(f"!has(self.{'.'.join(steps[: i + 1])})" for i in range(len(steps)))
    value, least = f"string(self.{path})", f"string(self.{other})"
    return (
        (f"{absent} || isQuantity({value})", f"{path} must be a quantity such as 500m or 2"),
        (
            (
                f"{absent} || !isQuantity({value}) || !isQuantity({least}) || "
                f"quantity({value}).compareTo(quantity({least})) >= 0"
            ),
            message,
        ),
    )


Growth = Literal["Resize", "Burst"]


class Resources(Part, frozen=True, kw_only=True):
    """What each pod is granted: request and limit alike, but for CPU where `growth` is Burst.

    The range is two fields and not one that is either a quantity or an object: a structural schema can't hold such
    a union together with rules on it (docs/decisions/0040-cpu-in-place.md).
    """

    cpu: Annotated[
        Quantity, _quantity("The CPU of each pod. The runtime derives workers, threads and queue from it.")
    ] = "1"
    max_cpu: Annotated[
        Quantity | UnsetType,
        _quantity(
            "The most CPU that Corefit gives a running pod by resizing it in place. Without a value, a pod keeps cpu."
        ),
    ] = field(default=UNSET, name="maxCPU")
    growth: Annotated[
        Growth,
        Meta(
            description="How a pod gets more CPU than cpu. Resize: Corefit raises request and limit together, in "
            "place; the node reserves that CPU for the pod. Burst: the request is cpu and the limit maxCPU from the "
            "start; the pod uses more than cpu only while its node has idle CPU."
        ),
    ] = "Resize"
    memory: Annotated[Quantity, _quantity("The memory of each pod.")] = "512Mi"


class Startup(Part, frozen=True, kw_only=True):
    """What a pod gets while it starts."""

    cpu: Annotated[
        Quantity | UnsetType,
        _quantity(
            "The CPU of a pod until it is ready; Corefit then resizes it to resources.cpu in place. Without a value, "
            "the operator's default. The value of resources.cpu turns the boost off."
        ),
    ] = UNSET


RESOURCES_RULES: Final = (
    *_at_least("cpu", f"{MIN_MILLICORES}m", "the runtime can't start on less"),
    *_at_least("memory", MIN_MEMORY, "the runtime can't start on less"),
    *_not_below("maxCPU", "cpu", "maxCPU must not be below cpu: a pod starts with cpu and is grown from it"),
    ("self.growth != 'Burst' || has(self.maxCPU)", "growth Burst needs maxCPU: Burst makes it the limit of each pod"),
)
"""Of `Resources`: (expression that must hold, message when it doesn't)."""
STARTUP_RULES: Final = (
    *_not_below(
        "startup.cpu",
        "resources.cpu",
        "startup.cpu must not be below resources.cpu: a pod starts with at least the CPU that it keeps",
    ),
    (
        "!has(self.startup) || !has(self.startup.cpu) || self.resources.growth != 'Burst'",
        "startup.cpu needs resources.growth Resize: with Burst a pod may use maxCPU from the start",
    ),
)
"""Of the whole spec, since they compare two parts of it."""
