"""What a pod is granted, and what it starts with: the part of the API that speaks of CPU and memory.

May not decide anything.
"""

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType, field

from corefit_core.api_part import Part
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

    cpu: Annotated[Quantity, _quantity("CPU of each pod; the number of workers follows from it.")] = "1"
    max_cpu: Annotated[
        Quantity | UnsetType,
        _quantity("CPU up to which a running pod is grown in place; it stays at cpu when this is left out."),
    ] = field(default=UNSET, name="maxCPU")
    growth: Annotated[
        Growth,
        Meta(
            description="How a pod comes from cpu to maxCPU. Resize: request and limit are moved in place together, so "
            "what it has is its own. Burst: the request stays at cpu and the limit is maxCPU from the start: the rest "
            "is there at once where the node is idle, and not where it is busy."
        ),
    ] = "Resize"
    memory: Annotated[Quantity, _quantity("Memory of each pod.")] = "512Mi"


class Startup(Part, frozen=True, kw_only=True):
    """How a pod starts."""

    cpu: Annotated[
        Quantity | UnsetType,
        _quantity(
            "CPU that a pod starts with; it is shrunk in place as soon as it is ready. "
            "The operator's default when it is left out; the same as resources.cpu for none."
        ),
    ] = UNSET


RESOURCES_RULES: Final = (
    *_at_least("cpu", f"{MIN_MILLICORES}m", "the runtime can't start on less"),
    *_at_least("memory", MIN_MEMORY, "the runtime can't start on less"),
    *_not_below("maxCPU", "cpu", "maxCPU must not be below cpu: a pod starts with cpu and is grown from it"),
    ("self.growth != 'Burst' || has(self.maxCPU)", "growth Burst needs maxCPU: it is the limit of each pod"),
)
"""Of `Resources`: (expression that must hold, message when it doesn't)."""
STARTUP_RULES: Final = (
    *_not_below(
        "startup.cpu",
        "resources.cpu",
        "startup.cpu must not be below resources.cpu: it is what a pod starts with instead",
    ),
    (
        "!has(self.startup) || !has(self.startup.cpu) || self.resources.growth != 'Burst'",
        "startup.cpu and resources.growth Burst exclude each other: such a pod may use maxCPU from the start",
    ),
)
"""Of the whole spec, since they compare two parts of it."""
