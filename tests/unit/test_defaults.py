"""A default that pages repeat stands there as the code has it."""

from pathlib import Path

import pytest

from corefit_core.defaults import DOWN_STABILIZATION_S

DOCS = Path(__file__).parents[2] / "docs"
WINDOW = f"{DOWN_STABILIZATION_S:g}"


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("reference.md", f"Without a value: {WINDOW}, or twice the start-up time"),
        ("autoscaling.md", f"unset: {WINDOW} s, or two start-up times"),
        ("coming-from-hpa.md", f"`spec.scaling.downStabilizationSeconds` ({WINDOW})"),
        ("recommender.md", f"max({WINDOW} s, 2 start-ups)"),
        ("operations.md", f"{WINDOW} s, or two start-ups"),
    ],
)
def test_pages_say_how_long_replicas_stay_where_nothing_is_set(page: str, words: str) -> None:
    assert words in " ".join((DOCS / page).read_text().split())
