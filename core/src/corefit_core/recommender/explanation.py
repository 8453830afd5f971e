"""What a decision says to people: who needs what, in cores and replicas, in plain sentences.

Pure text from numbers. May not decide anything.
"""

import math
from typing import Final, NamedTuple

from corefit_core.figures import figure, milliseconds
from corefit_core.recommender.types import Policy
from corefit_core.sizing import Objective

MOST_MS: Final = 1e12
"""The largest latency that is advised; a report may say anything."""
STEPS: Final = (1, 2, 3, 5, 7, 10)
"""Of each power of ten: the latencies that are advised."""


class Held(NamedTuple):
    """Replicas that are kept for load that came back before.

    Attributes:
        replicas: that the load of now needs.
        erlangs: the load that the others are kept for.
        returns: how often load came back in the last hour.
        seconds: after which they are let go at the latest.
    """

    replicas: int
    erlangs: float
    returns: int
    seconds: float


class Withheld(NamedTuple):
    """Replicas that are not added for a burst that may end before they can serve.

    Attributes:
        replicas: that the burst needs.
        bursts: of the last hour that ended so early.
        longest_s: how long the longest of them lasted at most.
    """

    replicas: int
    bursts: int
    longest_s: float


def objective(wanted: Objective) -> str:
    """As `p99 within 200 ms`."""
    return f"p{figure(wanted.percentile, 6)} within {milliseconds(wanted.latency_s)}"


def pods(count: int) -> str:
    """As `1 replica` or `2 replicas`."""
    return f"{count} replica" if count == 1 else f"{count} replicas"


def cores(erlangs: float, threads: float) -> str:
    """Busy workers as cores, to two digits: `0.25 cores`."""
    count = figure(erlangs * threads, 2)
    return "1 core" if count == "1" else f"{count} cores"


def span(seconds: float) -> str:
    """As `30 s` or `12 min`."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def fell(highest: int, window_s: float) -> str:
    """Why replicas go: what was wanted at most within the stabilization window."""
    if window_s <= 0:
        return f"Corefit wants {pods(highest)} now, and downStabilizationSeconds is 0"
    return f"Corefit wanted {pods(highest)} at most in the last {span(window_s)}"


def window(highest: int, window_s: float) -> str:
    """Why replicas do not go yet; `highest` is 0 while the window fills."""
    over = span(window_s)
    if not highest:
        return f"the load has been known for less than {over}, so replicas do not go down yet"
    return f"Corefit wanted {highest} within the last {over}"


def growing(fewer: int) -> str:
    """That pods stay until those that are enough have more CPU."""
    carry = "carries the load once it has" if fewer == 1 else "carry the load once each has"
    return f"{pods(fewer)} {carry} more CPU; the others go after that"


def load(erlangs: float, capacity: float, threads: float) -> str:
    """What the load needs of what there is."""
    return f"The load needs {cores(erlangs, threads)} of the {figure(capacity * threads)} that the pods have"


def enough(kept: str, replicas: int) -> str:
    """That so many keep the objective, or carry the load where `kept` is empty, since none keep it."""
    one = replicas == 1
    if not kept:
        return f"{pods(replicas)} {'carries' if one else 'carry'} the load"
    return f"{pods(replicas)} {'keeps' if one else 'keep'} {kept}"


def tolerated(replicas: int, share: float, *, saved: bool) -> str:
    """That so many are enough although the load is more than they can do: some requests may miss the objective."""
    may = f"up to {figure(100 * share, 2)} % of the requests may be late or refused"
    why = ", since few were in the last hour" if saved else ""
    return f"{pods(replicas)} {'is' if replicas == 1 else 'are'} enough: {may}{why}"


def forecast(least: str, replicas: int, ahead_s: float, most: str, *, kept: bool) -> str:
    """Why more replicas are there than the load of now needs, for which `least` says what keeps it, or is enough."""
    if_more = f"if the load reaches {most} within {span(ahead_s)}, as its past says it may"
    return f"{least} now, and {replicas} do {if_more}" if kept else f"{least}; {replicas} are needed {if_more}"


def unreachable(policy: Policy, run_s: float | None, reached_s: float, slowdown: float) -> str:
    """Why no number of replicas keeps the objective, and what would.

    Args:
        policy: has the objective.
        run_s: one run of one row, as a pod calibrated it.
        reached_s: what the objective's percentile of the requests takes in a pod without load. No latency of a pod in
            overload goes into it.
        slowdown: how much longer a run takes where a pod has less CPU than its workers could use.
    """
    wanted = policy.objective
    if run_s is not None and run_s > wanted.latency_s:
        longer = f"more than the {milliseconds(wanted.latency_s)} of the objective"
        first = f"One run of the model takes {milliseconds(run_s, 3)}, {longer}{_stretched(policy, run_s, slowdown)}."
    else:
        first = f"Requests that do not wait miss {objective(wanted)} as well."
    none = "More replicas do not help: Corefit adds replicas for load, and none for this objective."
    return f"{first} {none} {_mend(wanted, reached_s, slowdown)}"


def doubtful(policy: Policy, unwaited: float, requests: int, reached_s: float, slowdown: float) -> str:
    """That requests miss the objective without having waited, and what would keep it; see `unreachable`."""
    missed = f"{share_of_the_last_minute(unwaited, requests)} missed {objective(policy.objective)}"
    first = f"{missed} although they did not wait. If that stays so, more replicas do not help."
    return f"{first} {_mend(policy.objective, reached_s, slowdown)}"


def _stretched(policy: Policy, run_s: float, slowdown: float) -> str:
    """That a quota makes a run longer still; empty where none does."""
    if slowdown <= 1:
        return ""
    cpu = f"a pod has {policy.millicores_per_pod}m of CPU"
    return f"; {cpu}, so under load a run takes up to {milliseconds(slowdown * run_s, 2)}"


def _mend(wanted: Objective, reached_s: float, slowdown: float) -> str:
    """What would keep an objective that no replicas keep."""
    most = f" to {_upward(1000 * reached_s)} or more" if reached_s > wanted.latency_s else ""
    cpu = ", or give each pod more CPU (spec.resources.cpu)" if slowdown > 1 else ""
    verb = "Set" if most else "Raise"
    return f"{verb} spec.objective.latencyMilliseconds{most}{cpu}, or use a faster model."


def _upward(count: float) -> str:
    """Rounded up so coarsely that it stays the same while what it is measured from wavers by some tens of percent."""
    count = max(1.0, min(count, MOST_MS))
    power = 10 ** math.floor(math.log10(count))
    return f"{next(step * power for step in STEPS if count <= step * power):.0f}"


def late(missed: float, requests: int) -> str:
    """How many requests missed the objective, and of how many."""
    return f"{share_of_the_last_minute(missed, requests)} were late or refused"


def share_of_the_last_minute(share: float, requests: int) -> str:
    """As `62 % of the last minute's requests`, and how few there were: a share of a handful says little.

    No exact number: under steady load it changes every few seconds, and with it the status, which is then written.
    """
    few = next((f" (fewer than {most})" for most in (10, 100) if requests < most), "")
    return f"{figure(100 * share, 2)} % of the last minute's requests{few}"


def tight(run_s: float, wanted: Objective) -> str:
    """That an objective leaves requests hardly any time to wait."""
    run = f"a request takes {milliseconds(run_s, 2)} by itself"
    return f"{run}, and the {milliseconds(wanted.latency_s)} of the objective leave it little time to wait for others"


def cause(why: str) -> str:
    """Why many more replicas are needed than the work alone fills."""
    return f", so many because {why}"


def trial(replicas: int) -> str:
    """That one replica more shows whether there is more load than the pods could do."""
    have = "has" if replicas == 1 else "have"
    return f"{pods(replicas)} {have} had no idle time, so more load may wait; one more replica shows whether it does"


def full(replicas: int, most: int) -> str:
    """That pods have no idle time, and why no more are added."""
    have = "has" if replicas == 1 else "have"
    rest = (
        f"maxReplicas is {most}"
        if replicas >= most
        else "one more did no more work; it is tried again within two hours"
    )
    return f"{pods(replicas)} {have} had no idle time, so clients may be waiting; {rest}"


def holding(held: Held, replicas: int, threads: float) -> str:
    """Why replicas stay that the load of now does not need, and until when."""
    crowds = f"crowds of up to {cores(held.erlangs, threads)} came back {held.returns} times in the last hour"
    kept = f"{pods(replicas)} are kept although {held.replicas} would do now"
    return f"{crowds}, so {kept}; for {span(held.seconds)} at most"


def overspent(why: str, enough: int, replicas: int, seconds: float) -> str:
    """Why replicas stay that the load would not need if the objective had been kept, and until when."""
    kept = f"{pods(replicas)} are kept although {enough} would do now"
    return f"{why}, so {kept}; for {_at_most(seconds)} at most if the objective is kept from now on"


def _at_most(seconds: float) -> str:
    """Rounded up, coarsely, as `20 min` or `3 h`."""
    minutes = seconds / 60
    return f"{_upward(minutes)} min" if minutes <= 100 else f"{_upward(minutes / 60)} h"


def withheld(burst: Withheld) -> str:
    """Why a burst gets no more replicas, and when it does."""
    ended = f"the last {burst.bursts} bursts ended within {span(burst.longest_s)}, before a new pod could serve"
    return f"{ended}; if this burst lasts longer, Corefit scales to {pods(burst.replicas)}"
