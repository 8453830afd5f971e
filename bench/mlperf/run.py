"""MLPerf's load generator as the referee: p99 within the objective at Poisson load, at several shares of capacity.

`python bench/mlperf/run.py [--quick]` from the root. The server is pinned to one CPU, the generator to another.
"""

import argparse
import importlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
RESULTS: Final = ROOT / "bench" / "results" / "mlperf" / "mlperf.json"
OBJECTIVE_MS: Final = 100.0
PERCENTILE: Final = 99.0
SHARES: Final = (0.5, 0.7, 0.8)
"""Of the capacity, which is one over the service time that the runtime has measured."""
MOST: Final = 500.0
"""Queries a second: what the client can carry."""
MODEL: Final = "5ms"


def main() -> int:
    """Run all shares, print LoadGen's verdicts, and keep them."""
    sys.path[0] = str(ROOT)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one share, few queries")
    parser.add_argument("--model", default=MODEL, help=f"one of bench/models ({MODEL})")
    parser.add_argument("--server-cpu", type=int, default=0)
    parser.add_argument("--client-cpu", type=int, default=1)
    arguments = parser.parse_args()
    importlib.import_module("bench.runtime.priority").go_first()
    found = measured(arguments)
    for row in found["runs"]:
        print(
            f"{row['share']:.0%} of capacity, {row['rate']:.1f}/s: LoadGen says {row['result']}, "
            f"p{PERCENTILE:.0f} {row['p99_ms']:.1f} ms of {OBJECTIVE_MS:g}, "
            f"{row['answered']} answered, refused {row['refused'] or 0}; others took {row['foreign']:.0%} of the core"
        )
    if not arguments.quick:
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_bytes(importlib.import_module("msgspec").json.format(_encoded(found)) + b"\n")
    return 0


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """What LoadGen said at each share."""
    contenders, wire = (importlib.import_module(f"bench.runtime.{name}") for name in ("contenders", "wire"))
    cost, generate = (importlib.import_module(f"bench.models.{name}") for name in ("cost", "generate"))
    model = generate.ensure(arguments.model)
    with tempfile.TemporaryDirectory() as folder:
        request = Path(folder) / "request"
        request.write_bytes(wire.infer(contenders.MODEL, cost.feeds(cost.session(model.read_bytes()), 1)))
        options = ("--model-dir", folder, "--objective-ms", f"{OBJECTIVE_MS:g}", "--percentile", f"{PERCENTILE:g}")
        with contenders.corefit(model, *options, cpu=arguments.server_cpu) as server:
            seconds = _service_time(server.report())
            runs = [
                _run(arguments, server, str(request), share, min(MOST, share / seconds), folder)
                for share in (SHARES[:1] if arguments.quick else SHARES)
            ]
    return {"model": arguments.model, "service_ms": 1000 * seconds, "objective_ms": OBJECTIVE_MS, "runs": runs}


def _service_time(report: bytes) -> float:
    """Seconds of one row on one thread, as calibrated."""
    profile = importlib.import_module("msgspec").json.decode(report)["profile"]
    return float(next(point["seconds"] for point in profile if point["rows"] == point["threads"] == 1))


def _run(  # noqa: PLR0917 - what a run is
    arguments: argparse.Namespace, server: Any, request: str, share: float, rate: float, folder: str
) -> dict[str, Any]:
    job = {
        "port": server.port,
        "request_file": request,
        "rate": rate,
        "target_ms": OBJECTIVE_MS,
        "percentile": PERCENTILE,
        "seconds": 5.0 if arguments.quick else 20.0,
        "queries": 700 if arguments.quick else 2000,
        "folder": folder,
    }
    contenders, procstat = (importlib.import_module(f"bench.runtime.{name}") for name in ("contenders", "procstat"))
    before = procstat.mark([server.pid], [server.cpu])
    command = [sys.executable, "-m", "bench.mlperf.client", _encoded(job).decode()]
    with contenders.process(command, cpu=arguments.client_cpu, pipes=True, waits=False) as client:
        lines = client.communicate()[0].splitlines()
    spent = procstat.spent(before, procstat.mark([server.pid], [server.cpu]))
    said = importlib.import_module("msgspec").json.decode(lines[-1])
    latency_ms = int(said["summary"][f"{PERCENTILE:.2f} percentile latency (ns)"]) / 1e6
    return {
        "share": share,
        "rate": rate,
        "result": said["result"],
        "p99_ms": latency_ms,
        "answered": said["answered"],
        "refused": said["refused"],
        "foreign": spent.foreign,
        "summary": said["summary"],
    }


def _encoded(value: Any) -> bytes:
    return bytes(importlib.import_module("msgspec").json.encode(value))


if __name__ == "__main__":
    raise SystemExit(main())
