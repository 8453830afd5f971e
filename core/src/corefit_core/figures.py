"""Numbers as people read them: `100`, `128000`, `0.016`, never `1e+02`. May not do I/O."""

from decimal import Decimal


def figure(value: float, digits: int = 3) -> str:
    """A number in plain decimal notation, rounded to so many significant digits, without trailing zeros."""
    return f"{Decimal(f'{value:.{digits}g}').normalize():f}"


def milliseconds(seconds: float, digits: int = 6) -> str:
    """Seconds in the unit of `latencyMilliseconds`, as `200 ms`."""
    return f"{figure(1000 * seconds, digits)} ms"
