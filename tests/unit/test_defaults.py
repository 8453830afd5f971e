"""A default that pages repeat stands there as the code has it."""

from pathlib import Path

import pytest

from corefit_core.defaults import DOWN_STABILIZATION_S
from corefit_core.recommender.routing import DOWN_WINDOWS

ROOT = Path(__file__).parents[2]
WINDOW = f"{DOWN_STABILIZATION_S:g}"
TENFOLD = {10: "ten"}[round(DOWN_WINDOWS * DOWN_STABILIZATION_S / 60)]


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("docs/reference.md", f"Without a value: {WINDOW}, or twice the start-up time"),
        ("docs/autoscaling.md", f"unset: {WINDOW} s, or two start-up times"),
        ("docs/coming-from-hpa.md", f"`spec.scaling.downStabilizationSeconds` ({WINDOW})"),
        ("docs/recommender.md", f"max({WINDOW} s, 2 start-ups)"),
        ("docs/operations.md", f"{WINDOW} s, or two start-ups"),
        ("docs/routing.md", f"Without a value that is {TENFOLD} minutes"),
        ("examples/load-model/inferenceservice.yaml", f"instead of the default {WINDOW}"),
    ],
)
def test_pages_say_how_long_replicas_stay_where_nothing_is_set(page: str, words: str) -> None:
    assert words in " ".join((ROOT / page).read_text().split())
