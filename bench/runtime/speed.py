"""Throughput: Corefit through HTTP against onnxruntime in a loop, and against a bare aiohttp handler."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.runtime import contenders, load
from bench.runtime.harness import Bench, Measures, Window, cpu, rate


def against_raw(bench: Bench, name: str, at_least: float) -> None:
    """Requests a second through HTTP over runs a second of onnxruntime alone, on the same core."""
    model = bench.model(name)

    def start(stack: contextlib.ExitStack) -> Measures:
        raw = stack.enter_context(load.RawLoop(model, bench.server_cpu))
        corefit = stack.enter_context(bench.corefit(model, "--objective-ms", "1000"))
        bare = stack.enter_context(contenders.other("bare_server", model, cpu=bench.server_cpu))
        return {
            "raw": lambda: _raw(raw, bench.window_s),
            "corefit": _closed(bench, corefit, model, 4),
            "bare aiohttp": _closed(bench, bare, model, 4),
        }

    windows = bench.anew(start)
    bench.details[f"speed {name}"] = windows
    yardstick = windows.pop("raw")
    for who, measured in windows.items():
        goal: dict[str, Any] = {"at_least": at_least} if who == "corefit" else {}
        bench.found(f"speed {name}", f"{who} / raw, wall", rate(measured) / rate(yardstick), **goal)
        bench.found(f"speed {name}", f"{who} / raw, CPU", cpu(yardstick) / cpu(measured), steady=True, **goal)
    bench.found(f"speed {name}", "raw run", 1000 * cpu(yardstick), "ms of CPU")


def against_bare(bench: Bench) -> None:
    """A 10 us model: requests a second over those of the bare handler, which does nothing that Corefit does."""
    model = bench.model("tiny")

    def start(stack: contextlib.ExitStack) -> Measures:
        corefit = stack.enter_context(bench.corefit(model))
        bare = stack.enter_context(contenders.other("bare_server", model, cpu=bench.server_cpu))
        loop = stack.enter_context(contenders.other("bare_server", model, "--uvloop", cpu=bench.server_cpu))
        return {
            "corefit": _closed(bench, corefit, model, 16),
            "bare aiohttp": _closed(bench, bare, model, 16),
            "bare aiohttp on uvloop": _closed(bench, loop, model, 16),
        }

    windows = bench.anew(start)
    bench.details["speed tiny"] = windows
    ours = windows["corefit"]
    for who, measured in windows.items():
        bench.found("speed tiny", who, rate(measured), "requests/s", note=f"{1e6 * cpu(measured):.0f} us of CPU each")
    bench.found("speed tiny", "corefit / bare aiohttp, wall", rate(ours) / rate(windows["bare aiohttp"]), at_least=1.0)
    bench.found(
        "speed tiny", "corefit / bare aiohttp, CPU", cpu(windows["bare aiohttp"]) / cpu(ours), at_least=1.0, steady=True
    )


def _closed(bench: Bench, server: contenders.Server, model: Path, connections: int) -> Callable[[], Window]:
    return lambda: bench.window(server, model, connections)


def _raw(raw: load.RawLoop, seconds: float) -> Window:
    rate_, spent, cpu_s = raw.run(seconds)
    return Window(rate=rate_, cpu_s=cpu_s, foreign=spent.foreign)
