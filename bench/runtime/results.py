"""The findings as a table, as JSON and as a picture. May not measure."""

import json
import os
import platform
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import msgspec
import onnxruntime as ort
from bench.runtime.harness import Bench, Finding
from rich.console import Console
from rich.table import Table

FOLDER: Final = Path(__file__).resolve().parents[1] / "results" / "runtime"


def show(bench: Bench) -> None:
    """Print the table."""
    table = Table(
        "experiment", "figure", "value", "wanted", "met", "others", "note", title="the runtime", title_justify="left"
    )
    for finding in bench.findings:
        table.add_row(
            finding.experiment,
            finding.name,
            f"{finding.value:.4g} {finding.unit}".strip(),
            finding.wanted,
            verdict(finding),
            f"{finding.foreign:.0%}",
            finding.note,
        )
    console = Console(width=None if os.isatty(1) else 160)
    console.print(table)
    console.print(disturbance(bench))


def verdict(finding: Finding) -> str:
    """yes, no, or that it can't be said."""
    if not finding.wanted:
        return ""
    return {True: "yes", False: "no", None: "disturbed"}[finding.met]


def disturbance(bench: Bench) -> str:
    """How much the neighbours were in the way."""
    return (
        f"{bench.thrown_away} windows thrown away because others took more than 5 % of the server's CPU, "
        f"{bench.kept_disturbed} kept although they did (no retries left). Where `others` (the share of the server's "
        "core that others took) is above 5 %, wall-clock figures say more of the neighbours than of the servers and "
        "get no verdict"
    )


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What one invocation found, under which conditions, and the windows that it rests on by experiment."""

    conditions: dict[str, Any]
    findings: list[Finding]
    windows: dict[str, Any]

    def without(self, experiments: set[str]) -> "Run":
        """What is left of it when these have been run anew."""
        findings = [finding for finding in self.findings if finding.experiment not in experiments]
        windows = {name: windows for name, windows in self.windows.items() if name not in experiments}
        return Run(conditions=self.conditions, findings=findings, windows=windows)


def save(bench: Bench, folder: Path = FOLDER, *, keep: bool = False) -> None:
    """Write `results.json` and `results.png`; with `keep`, beside the experiments of earlier invocations."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.json"
    run = Run(conditions=_conditions(bench), findings=bench.findings, windows=bench.details)
    earlier = msgspec.json.decode(path.read_bytes(), type=list[Run]) if keep and path.exists() else []
    anew = {finding.experiment for finding in bench.findings}
    runs = [kept for kept in (old.without(anew) for old in earlier) if kept.findings] + [run]
    path.write_text(json.dumps(msgspec.to_builtins(runs), indent=1) + "\n", encoding="utf-8")
    _picture([finding for run in runs for finding in run.findings], folder / "results.png")


def _conditions(bench: Bench) -> dict[str, Any]:
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "cpu": cpu,
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "onnxruntime": ort.__version__,
        "load_average": os.getloadavg(),
        "quick": bench.quick,
        "instances": bench.instances,
        "rounds": bench.rounds,
        "window_s": bench.window_s,
        "windows_thrown_away": bench.thrown_away,
        "windows_kept_though_disturbed": bench.kept_disturbed,
    }


def _picture(findings: list[Finding], path: Path) -> None:
    """What has a target, as bars over the target: to the right of the line is better."""
    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of a backend without a display

    aims = [f for f in findings if f.wanted]
    if not aims:
        return
    shares = [_share(f) for f in aims]
    figure, axes = plt.subplots(figsize=(10, 1 + 0.4 * len(aims)), layout="constrained")
    axes.barh(
        [f"{f.experiment}: {f.name}" for f in aims],
        shares,
        color=[{True: "tab:green", False: "tab:red", None: "lightgrey"}[f.met] for f in aims],
    )
    axes.bar_label(
        axes.containers[0],  # type: ignore[arg-type]  # barh's container is a BarContainer
        [f"{f.value:.3g} {f.unit} ({f.wanted})" for f in aims],
        padding=3,
    )
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlim(0, 3)
    axes.set_xlabel("how well the target is met (1: just met; cut off at 2; grey: too disturbed to say)")
    axes.invert_yaxis()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _share(finding: Finding) -> float:
    bound = float(finding.wanted.split()[1])
    value = max(finding.value, 1e-9)
    return max(0.0, min(2.0, value / bound if finding.wanted.startswith(">=") else bound / value))
