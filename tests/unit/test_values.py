"""The values of core: none changes once it is made, so that whoever holds one may keep it and compare it."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import msgspec
import pytest

import corefit_core
from corefit_core.window import Timed


def _kinds() -> Iterator[type[msgspec.Struct]]:
    for module in pkgutil.walk_packages(corefit_core.__path__, "corefit_core."):
        for kind in vars(importlib.import_module(module.name)).values():
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__module__ == module.name:
                yield kind


KINDS = list(_kinds())


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_is_never_changed(kind: type[msgspec.Struct]) -> None:
    assert kind.__struct_config__.frozen


SHARED = [
    kind
    for kind in KINDS
    if kind is not Timed and (".recommender." not in kind.__module__ or kind.__module__.endswith(".types"))
]
"""What goes from one package to another; the recommender makes its own state, in one place each. A value and its time
are a pair."""


@pytest.mark.parametrize("kind", SHARED)
def test_a_value_that_others_make_is_made_by_the_names_of_its_fields(kind: type[msgspec.Struct]) -> None:
    """So that a field that is added in the middle changes no meaning."""
    parameters = inspect.signature(kind).parameters.values()
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in parameters)
