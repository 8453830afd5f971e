"""The policies that the simulator compares: one table, from which `--help`, `all` and the runs come.

Light, since `corefit --help` reads it: the modules that make the policies are imported when one runs.
"""

import re
from typing import Final, NamedTuple

from corefit_core.errors import InvalidInput

_PERCENT: Final = r"(\d+(\.\d+)?|\.\d+)?"


class PolicyEntry(NamedTuple):
    """One policy.

    Attributes:
        name: what `--policy` begins with; an argument may follow after a colon.
        usage: the name with its argument, as `--help` shows it.
        meaning: what it is; empty where the name says it.
        maker: `MODULE:FUNCTION`. The function gets the case, the argument and what runs a case, and returns an
            `Outcome`.
        argument: a regular expression for the argument.
        compared: the names with which `all` runs it.
    """

    name: str
    usage: str
    meaning: str
    maker: str
    argument: str = ""
    compared: tuple[str, ...] = ()


POLICIES: Final = (
    PolicyEntry(
        "corefit", "corefit[:pods]", "pods: without resizes", "corefit.simulate.corefit:run", "(pods)?", ("corefit",)
    ),
    PolicyEntry("hpa", "hpa[:70]", "HPA on CPU, in percent", "corefit.simulate.hpa:run", _PERCENT, ("hpa:70",)),
    PolicyEntry("kpa", "kpa[:70]", "Knative on concurrency", "corefit.simulate.kpa:run", _PERCENT, ("kpa:70",)),
    PolicyEntry("ray", "ray[:70]", "Ray Serve on ongoing requests", "corefit.simulate.ray:run", _PERCENT, ("ray",)),
    PolicyEntry("static", "static", "", "corefit.simulate.bounds:static", compared=("static",)),
    PolicyEntry("clairvoyant", "clairvoyant", "", "corefit.simulate.bounds:clairvoyant", compared=("clairvoyant",)),
    PolicyEntry("reactive", "reactive", "the load of the moment, known exactly", "corefit.simulate.bounds:reactive"),
    PolicyEntry(
        "naive", "naive[:70]", "HPA over unsized pods", "corefit.simulate.hpa:run_unsized", _PERCENT, ("naive",)
    ),
)
ALL: Final = tuple(name for entry in POLICIES for name in entry.compared)
"""What `all` stands for."""


def named(policy: str) -> tuple[PolicyEntry, str]:
    """The entry of a policy, and the policy's argument.

    Raises:
        InvalidInput: there is none of that name, or it has no such argument.
    """
    name, _, argument = policy.partition(":")
    entry = next((entry for entry in POLICIES if entry.name == name), None)
    if entry is None or not re.fullmatch(entry.argument, argument):
        raise InvalidInput(f"no policy {policy!r}: {usage()}")
    if entry.argument == _PERCENT and argument and float(argument) <= 0:
        raise InvalidInput(f"no policy {policy!r}: the percentage must be above 0")
    return entry, argument


def usage() -> str:
    """All of them on one line."""
    each = (f"{entry.usage} ({entry.meaning})" if entry.meaning else entry.usage for entry in POLICIES)
    return f"{', '.join(each)}, all"
