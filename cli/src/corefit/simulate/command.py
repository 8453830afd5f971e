"""`corefit simulate`: from options to outcomes, a table, JSON and a picture. May not simulate."""

import argparse
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from corefit.checks import output, percentile, positive
from corefit.simulate import policies, traces
from corefit.simulate.flaws import Flaws
from corefit.simulate.outcome import Outcome, Setting
from corefit.simulate.run import simulate
from corefit.simulate.service import Service
from corefit_core import sizing
from corefit_core.errors import ConfigError
from corefit_core.recommender import CpuRange, Policy
from corefit_core.sizing import Objective

MOST_CORES = 256
"""Of a simulated pod: more than most machines have."""
MOST_PODS = 100_000
"""More than a cluster has (Kubernetes is made for 150,000 pods in all)."""
DAY_MS = 86_400_000
"""Whatever takes longer than a day is no request."""
STDOUT = Path("-")


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON document."""

    trace: str
    requests: int
    duration_s: float
    setting: Setting
    policies: dict[str, Outcome]


def run(arguments: argparse.Namespace) -> int:
    """Simulate each policy that was asked for; 0 when all ran."""
    setting = _setting(arguments)
    names = _names(arguments.policy)
    for name in names:
        policies.named(name)
    _check_outputs(arguments.json, arguments.plot)
    trace = traces.read(arguments.trace, positive("--scale", arguments.scale), arguments.seed)
    console = Console(stderr=True)
    outcomes: dict[str, Outcome] = {}
    with Progress(console=console, transient=True) as progress:
        for name in names:
            outcomes[name] = simulate(name, trace, setting, _shown(progress, name))
    written = Written(
        trace=trace.name,
        requests=len(trace.arrivals),
        duration_s=trace.duration_s,
        setting=setting,
        policies=outcomes,
    )
    if arguments.json != STDOUT:
        Console().print(table(list(outcomes.values()), setting))
    _write(arguments.json, written)
    if arguments.plot:
        _plotter().draw(arguments.plot, trace, setting, list(outcomes.values()))
    return 0


def _check_outputs(json: Path | None, plot: Path | None) -> None:
    if json is not None and json != STDOUT:
        output("--json", json)
    if plot is not None:
        _plotter().check(output("--plot", plot))


def _plotter() -> ModuleType:
    """The picture's module, which takes a second to import."""
    return importlib.import_module("corefit.simulate.plot")


def _shown(progress: Progress, name: str) -> Callable[[float], None]:
    task = progress.add_task(name, total=1.0)
    return lambda done: progress.update(task, completed=done)


def _write(path: Path | None, written: Written) -> None:
    if path is None:
        return
    body = msgspec.json.format(msgspec.json.encode(written), indent=1) + b"\n"
    if path == STDOUT:
        print(body.decode(), end="")
        return
    try:
        path.write_bytes(body)
    except OSError as error:
        raise ConfigError(f"--json {path}: {error.strerror}") from error


def table(outcomes: Sequence[Outcome], setting: Setting) -> Table:
    """One row a policy."""
    latency_ms = 1000 * setting.service.objective.latency_s
    view = Table(title=f"within {latency_ms:g} ms; {setting.service.workers} cores a pod")
    for heading in (
        "policy",
        "core-h",
        setting.policy.price.currency,
        "in time %",
        "shed %",
        "p50 ms",
        "p99 ms",
        "changes",
        "pods",
    ):
        view.add_column(heading, no_wrap=True, justify="left" if heading == "policy" else "right")
    for o in outcomes:
        view.add_row(
            o.policy,
            f"{o.core_hours:.2f}",
            f"{o.cost:.3f}",
            f"{100 * o.attainment:.3f}",
            f"{100 * o.shed:.3f}",
            _ms(o.p50_s),
            _ms(o.p99_s),
            str(o.scale_changes),
            str(max(o.replicas)),
        )
    return view


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.0f}"


def _names(wanted: Sequence[str] | None) -> list[str]:
    names = [each for name in wanted or ["corefit"] for each in (policies.ALL if name == "all" else (name,))]
    return list(dict.fromkeys(names))


def _setting(arguments: argparse.Namespace) -> Setting:
    if not 0 <= arguments.reports_silent <= 1:
        raise ConfigError(f"--reports-silent {arguments.reports_silent}; it is a share from 0 to 1")
    service = Service(
        service_s=positive("--service-ms", arguments.service_ms, most=DAY_MS) / 1000,
        service_cv=positive("--service-cv", arguments.service_cv, zero=True),
        workers=int(positive("--workers", arguments.workers, most=MOST_CORES)),
        startup_s=positive("--startup-s", arguments.startup_s, zero=True),
        drain_s=positive("--drain-s", arguments.drain_s, zero=True),
        objective=Objective(
            percentile=percentile("--percentile", arguments.percentile),
            latency_s=positive("--objective-ms", arguments.objective_ms, most=DAY_MS) / 1000,
        ),
        cpu_range=_cpu_range(arguments.cpu_range),
        headroom=positive("--headroom", arguments.headroom, zero=True) / 100,
        balancing=arguments.balancing,
    )
    window_s = arguments.down_window_s
    return Setting(
        service=service,
        policy=Policy(down_window_s=None if window_s is None else positive("--down-window-s", window_s, zero=True)),
        unsized=positive("--unsized", arguments.unsized),
        flaws=Flaws(
            late_s=positive("--reports-late-s", arguments.reports_late_s, zero=True),
            silent=arguments.reports_silent,
            service_factor=positive("--reports-service-factor", arguments.reports_service_factor),
        ),
        max_replicas=int(positive("--max-replicas", arguments.max_replicas, most=MOST_PODS)),
        seed=int(positive("--seed", arguments.seed, zero=True)),
    )


def _cpu_range(text: str | None) -> CpuRange | None:
    if text is None:
        return None
    low, _, high = text.partition(":")
    try:
        span = CpuRange(min_millicores=round(1000 * float(low)), max_millicores=round(1000 * float(high)))
    except (ValueError, OverflowError):
        span = CpuRange(min_millicores=0, max_millicores=0)
    if not sizing.MIN_MILLICORES <= span.min_millicores <= span.max_millicores <= 1000 * MOST_CORES:
        raise ConfigError(f"--cpu-range {text}; it must be MIN:MAX in cores, from 0.1 to {MOST_CORES}, as 1:4")
    return span
