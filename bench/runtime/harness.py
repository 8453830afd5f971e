"""What every experiment stands on: the CPUs, how long a window is, and windows that others disturbed thrown away."""

import contextlib
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from bench.models.cost import feeds, session
from bench.models.generate import ensure
from bench.runtime import contenders, load, wire
from bench.runtime.samples import Stream

FOREIGN_LIMIT: Final = 0.05
"""A window in which others took more of the server's core is thrown away and counted."""


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement of one contender: requests a second, CPU seconds a request, the share that others took."""

    rate: float
    cpu_s: float
    foreign: float


Measures = Mapping[str, Callable[[], Window]]
"""What measures one window of each contender, by its name."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table: what was found, and what was wanted where the design says.

    Attributes:
        met: whether it is as wanted; None where nothing is, or where others were too much in the way to tell.
        foreign: the largest share of the server's core that others took in the windows kept for its experiment.
    """

    experiment: str
    name: str
    value: float
    unit: str = ""
    wanted: str = ""
    met: bool | None = None
    foreign: float = 0.0
    note: str = ""


class Bench:
    """The conditions of all experiments of one invocation."""

    def __init__(self, *, quick: bool, server_cpu: int, client_cpu: int, folder: Path) -> None:
        self.quick = quick
        self.server_cpu = server_cpu
        self.client_cpu = client_cpu
        self.instances = 2 if quick else 4
        self.rounds = 2 if quick else 3
        self.window_s = 1.5 if quick else 2.0
        self.retries = 2 if quick else 4
        self.repeats = 0 if quick else 1
        self.thrown_away = 0
        self.kept_disturbed = 0
        self.worst = 0.0
        self.findings: list[Finding] = []
        self.details: dict[str, Any] = {}
        self._folder = folder

    def request(self, model: Path, rows: int = 1) -> str:
        """The file of a request for the model, made on first use."""
        path = self._folder / f"{model.stem}-{rows}.request"
        if not path.exists():
            path.write_bytes(wire.infer(contenders.MODEL, feeds(session(model.read_bytes()), rows)))
        return str(path)

    def model(self, name: str) -> Path:
        """The file of a generated model."""
        return ensure(name)

    def corefit(self, model: Path, *options: str) -> "contextlib.AbstractContextManager[contenders.Server]":
        """Corefit on the server's CPU."""
        return contenders.corefit(model, "--model-dir", str(self._folder), *options, cpu=self.server_cpu)

    def run(self, server: contenders.Server, *streams: Stream, seconds: float) -> load.Run:
        """The client from its CPU against the server; again while others disturb it, then the calmest of all."""
        runs = [load.run(server, streams, seconds, client_cpu=self.client_cpu)]
        while runs[-1].foreign > FOREIGN_LIMIT and len(runs) <= self.repeats:
            runs.append(load.run(server, streams, seconds, client_cpu=self.client_cpu))
        calmest = min(runs, key=lambda run: run.foreign)
        self.thrown_away += len(runs) - 1
        self.kept_disturbed += calmest.foreign > FOREIGN_LIMIT
        self.worst = max(self.worst, calmest.foreign)
        return calmest

    def window(self, server: contenders.Server, model: Path, connections: int) -> Window:
        """One window of a closed loop, for `interleaved`, which repeats it when it was disturbed."""
        stream = self.stream(server, model, connections)
        return window_of(load.run(server, [stream], self.window_s, client_cpu=self.client_cpu))

    def closed(self, server: contenders.Server, model: Path, connections: int, seconds: float) -> load.Run:
        """As fast as the answers come, on so many connections."""
        return self.run(server, self.stream(server, model, connections), seconds=seconds)

    def stream(self, server: contenders.Server, model: Path, connections: int) -> Stream:
        """A closed loop on so many connections."""
        return Stream(name="closed", port=server.port, request_file=self.request(model), connections=connections)

    def interleaved(self, contenders: Measures) -> dict[str, list[Window]]:
        """A B A B ...; a disturbed window is repeated while there are retries left, then kept and counted as such."""
        retries = self.retries
        windows: dict[str, list[Window]] = {name: [] for name in contenders}
        for _ in range(self.rounds):
            for name, measure in contenders.items():
                window = measure()
                while window.foreign > FOREIGN_LIMIT and retries:
                    retries -= 1
                    self.thrown_away += 1
                    window = measure()
                self.kept_disturbed += window.foreign > FOREIGN_LIMIT
                windows[name].append(window)
        self.worst = max(self.worst, *(w.foreign for kept in windows.values() for w in kept))
        return windows

    def anew(self, start: Callable[[contextlib.ExitStack], Measures]) -> dict[str, list[Window]]:
        """The windows of contenders that are started anew a few times.

        Where a process's memory happens to lie moves its speed by percents for as long as it lives.
        """
        together: dict[str, list[Window]] = {}
        for _ in range(self.instances):
            with contextlib.ExitStack() as stack:
                for name, windows in self.interleaved(start(stack)).items():
                    together.setdefault(name, []).extend(windows)
        return together

    def found(self, experiment: str, name: str, value: float, unit: str = "", **extra: Any) -> None:
        """Note a finding; `at_least` and `at_most` say what is wanted.

        A wall-clock figure of a disturbed experiment gets no verdict, good or bad: with its neighbours awake in the
        other's turns, a server has come out faster than the loop that it contains. `steady`: CPU time or memory.
        `only_worse`: what it is held against was measured undisturbed, so that the disturbance can't have flattered it.
        """
        wanted, met, steady = "", None, extra.pop("steady", False)
        only_worse = extra.pop("only_worse", False)
        if (low := extra.pop("at_least", None)) is not None:
            wanted, met = f">= {low:g}", value >= low
        if (high := extra.pop("at_most", None)) is not None:
            wanted, met = f"<= {high:g}", value <= high
        if self.worst > FOREIGN_LIMIT and not steady and not (only_worse and met):
            met = None
        self.findings.append(
            Finding(
                experiment=experiment,
                name=name,
                value=value,
                unit=unit,
                wanted=wanted,
                met=met,
                foreign=self.worst,
                **extra,
            )
        )


def window_of(run: load.Run, warm_s: float = 0.3) -> Window:
    """The figures of a run, its first moments aside."""
    return Window(rate=run.throughput(warm_s), cpu_s=run.cpu_per_answer_s, foreign=run.foreign)


def rate(windows: list[Window]) -> float:
    """The median of the requests a second."""
    return statistics.median(w.rate for w in windows)


def cpu(windows: list[Window]) -> float:
    """The median of the CPU seconds a request."""
    return statistics.median(w.cpu_s for w in windows)


@contextlib.contextmanager
def opened(*, quick: bool, server_cpu: int, client_cpu: int) -> Iterator[Bench]:
    """A bench with a folder for its requests and profiles, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="corefit-bench-") as folder:
        yield Bench(quick=quick, server_cpu=server_cpu, client_cpu=client_cpu, folder=Path(folder))
