"""The flash bench's figures: attainment, core-seconds, and when p99 is back."""

import importlib
import sys
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from unit.sites import served

from corefit.load import Kind
from corefit.load.record import Sample
from corefit_core.spec.decode import decode

OBJECTIVE_S = 0.4
ROOT = Path(__file__).parents[2]
NAMES = ("crowds", "schools", "figures", "far_source")


@pytest.fixture
def figures(bench: Callable[[str], ModuleType]) -> ModuleType:
    """What is tested."""
    return bench("flash.figures")


def _samples(bad: Kind = Kind.OK, *, until_s: float = 0.0) -> list[Sample]:
    """A hundred a second from 10 to 30 s, all in time but those before `until_s`."""
    found = []
    for number in range(2000):
        at = 10 + number / 100
        late = at < until_s
        latency = 1.0 if late and bad is Kind.OK else 0.01
        kind = bad if late else Kind.OK
        found.append(Sample(intended_s=at, sent_s=at + 0.001, done_s=at + latency, kind=kind))
    return found


@pytest.mark.parametrize("bad", [Kind.OK, Kind.SHED, Kind.ERROR])
def test_what_is_late_refused_or_lost_has_missed(figures: ModuleType, bad: Kind) -> None:
    phase = figures.Phase(name="step", begin_s=10, end_s=30, step_s=10)
    found = figures.of(phase, _samples(bad, until_s=12), [(0.0, 0.5), (20.0, 1.5)], OBJECTIVE_S)
    assert (found.sent, found.attainment) == (2000, pytest.approx(0.9))
    assert (found.refused, found.lost) == ({Kind.SHED: 200}.get(bad, 0), {Kind.ERROR: 200}.get(bad, 0))
    assert found.core_seconds == pytest.approx(10 * 0.5 + 10 * 1.5)
    # 2 s, less the five late requests of five hundred that one in a hundred allows.
    assert found.back_s == found.stays_s == pytest.approx(1.95, abs=0.1)
    assert found.late_p99_s == pytest.approx(0.001)


def test_what_never_comes_back_has_no_time(figures: ModuleType) -> None:
    assert figures.recovery(_samples(until_s=30), OBJECTIVE_S, 10, 30) == (None, None)
    assert figures.recovery(_samples(), OBJECTIVE_S, 10, 30) == (0.0, 0.0)


def test_what_is_in_time_at_first_and_late_then_is_back_when_it_stays(figures: ModuleType) -> None:
    late = [s for s in _samples(until_s=22) if s.intended_s >= 20]
    first, stays = figures.recovery([s for s in _samples() if s.intended_s < 20] + late, OBJECTIVE_S, 10, 30)
    assert (first, stays) == (0.0, pytest.approx(11.95, abs=0.1))


def test_seconds_are_whole_and_cores_are_averaged(figures: ModuleType) -> None:
    found = figures.seconds(_samples(until_s=10.5), [(0.0, 0.5), (12.5, 1.5)], OBJECTIVE_S)
    assert (len(found), found[9].sent, found[10].sent, found[10].missed) == (30, 0, 100, 50)
    assert [s.cores for s in found[11:14]] == [0.5, 1.0, 1.5]
    assert (
        figures.of(figures.Phase(name="p", begin_s=13, end_s=20), _samples(), [(0.0, 0.5), (12.5, 1.5)], 1).cores_before
        == 1.5
    )


@pytest.fixture
def modules() -> Iterator[dict[str, Any]]:
    """The scripts of the bench, which find each other in their own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "bench" / "flash"))
        yield {name: importlib.import_module(name) for name in NAMES}
        for name in NAMES:
            patch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize("key", ["far", "8", "16"])
def test_a_crowd_is_the_same_each_time_and_steps_to_four_times_the_load(modules: dict[str, Any], key: str) -> None:
    crowd = modules["crowds"].CROWDS[key]
    times, (step, burst) = crowd.times(), crowd.phases()
    assert times == crowd.times() == sorted(times)
    before = sum(at < step.begin_s for at in times) / step.begin_s
    during = sum(step.begin_s <= at < step.end_s for at in times) / crowd.peak_s
    assert (before, during) == (pytest.approx(crowd.base, rel=0.3), pytest.approx(4 * crowd.base, rel=0.1))
    assert burst.end_s - burst.begin_s == 60
    assert max(times) < burst.end_s


@pytest.mark.parametrize("key", ["far", "8"])
def test_all_schools_begin_with_the_same_pods_and_the_same_model(modules: dict[str, Any], key: str) -> None:
    crowd = modules["crowds"].CROWDS[key]
    example = yaml.safe_load((ROOT / "examples/load-model/inferenceservice.yaml").read_text())
    found = modules["schools"].schools(crowd, example, ROOT / "bench/flash/unsized_server.py", (50, 70))
    assert [school.key for school in found] == ["a", "b", "c50", "c70", "d", "e", "b+", "e+"]
    uris = set()
    for school in found:
        for manifest in school.manifests:
            if manifest["kind"] == "InferenceService":
                spec = manifest["spec"]
                assert (spec["resources"]["cpu"], spec["scaling"]["replicas"]) == (crowd.cpu, crowd.pods)
                assert decode({**manifest, "metadata": {"name": "flash", "namespace": "n", "uid": "u"}}).name == "flash"
                uris.add(spec["model"]["uri"])
            if manifest["kind"] == "Deployment":
                container = manifest["spec"]["template"]["spec"]["containers"][0]
                assert (container["resources"]["limits"]["cpu"], manifest["spec"]["replicas"]) == (
                    crowd.cpu,
                    crowd.pods,
                )
                uris.add(container["command"][-1])
            if manifest["kind"] == "HorizontalPodAutoscaler":
                assert manifest["spec"]["minReplicas"] == crowd.pods
    assert len(uris) == 1


def test_a_far_source_gives_all_of_a_file_and_takes_its_time(modules: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(bytes(range(256)) * 10)
    slept: list[float] = []
    source = modules["far_source"]
    source.time = type("Clock", (), {"sleep": slept.append})
    handler = partial(source.Handler, seconds=10.0, directory=str(tmp_path))
    with (
        served(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as origin,
        urllib.request.urlopen(f"{origin}/m.onnx", timeout=60) as response,  # noqa: S310 - our own server
    ):
        assert response.read() == bytes(range(256)) * 10
    assert sum(slept) == pytest.approx(10.0, rel=0.02)
