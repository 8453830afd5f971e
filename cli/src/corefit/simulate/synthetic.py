"""Small traces of the shapes that load takes, from a seeded generator: what the tests and benches carry.

May not imitate any recorded trace.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from corefit.simulate.kernel import Floats
from corefit.simulate.traces import Trace, from_counts
from corefit_core.errors import InvalidInput

_Shape = Callable[[Floats, np.random.Generator], Floats]


def _diurnal(t: Floats, _: np.random.Generator) -> Floats:
    """A day's wave: a fifth of the peak at night."""
    return 0.6 - 0.4 * np.cos(2 * np.pi * t)


def _noisy(t: Floats, random: np.random.Generator) -> Floats:
    """A level with noise that is correlated over half a minute or so."""
    noise = np.convolve(random.normal(size=len(t) + 60), np.hanning(60) / np.hanning(60).sum(), mode="full")
    return np.maximum(0.05, 0.6 + 0.6 * noise[60 : 60 + len(t)])


def _bursty(t: Floats, random: np.random.Generator) -> Floats:
    """A level with a burst of up to twice as much each few minutes, which rises within half a minute."""
    level = np.full(len(t), 0.4)
    for begin in random.integers(0, len(t), max(1, len(t) // 300)):
        shape = np.hanning(90) * random.uniform(0.3, 0.6)
        part = level[begin : begin + 90]
        part += shape[: len(part)]
    return level


def _flash(t: Floats, _: np.random.Generator) -> Floats:
    """A flash crowd: five times the load within ten seconds, fading over minutes."""
    seconds = np.arange(len(t)) - 0.4 * len(t)
    crowd = np.where(seconds < 0, 0.0, np.minimum(1, seconds / 10) * np.exp(-np.maximum(0, seconds) / 400))
    return 0.2 + 0.8 * crowd


def _step(t: Floats, _: np.random.Generator) -> Floats:
    """Twice the load from one second to the next, for good."""
    return np.where(t < 0.4, 0.4, 0.8)


def _decay(t: Floats, _: np.random.Generator) -> Floats:
    """From the peak down."""
    return 0.1 + 0.9 * np.exp(-4 * t)


def _on_off(t: Floats, _: np.random.Generator) -> Floats:
    """Five minutes of load, five of a tenth of it."""
    return np.where((np.arange(len(t)) // 300) % 2 == 0, 0.8, 0.08)


def _constant(t: Floats, _: np.random.Generator) -> Floats:
    """The same all the time."""
    return np.full(len(t), 0.6)


SHAPES: Final[dict[str, _Shape]] = {
    "diurnal": _diurnal,
    "noisy": _noisy,
    "bursty": _bursty,
    "flash": _flash,
    "step": _step,
    "decay": _decay,
    "on-off": _on_off,
    "constant": _constant,
}


def trace(shape: str, peak: float, duration_s: int = 3600, seed: int = 1) -> Trace:
    """Poisson arrivals of that shape, `peak` requests a second at its height.

    Raises:
        InvalidInput: no such shape.
    """
    if shape not in SHAPES:
        raise InvalidInput(f"no shape {shape!r}: {', '.join(SHAPES)}")
    random = np.random.default_rng(seed)
    rate = peak * SHAPES[shape](np.linspace(0, 1, duration_s), random)
    return from_counts(f"synthetic-{shape}", random.poisson(rate).astype(np.float64), seed)
