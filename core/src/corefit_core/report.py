"""The report: what one runtime pod says of itself, and the only thing that the recommender knows of it.

Monotonic counters and histograms, not rates: a lost poll loses nothing, two readers don't disturb each other,
and a restart shows as a new boot id. One JSON document from one snapshot, `GET /report` on the admin port.
The contract may grow by fields with defaults; readers ignore what they don't know. May not do I/O.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec

from corefit_core.errors import InvalidInput
from corefit_core.histogram import Count, Histogram, Seconds, SecondsSquared

VERSION: Final = 1
REPORT_PATH: Final = "/report"
ATTENTION_PATH: Final = "/attention"
"""On the admin port beside the report: answered when the pod's queue is long or refuses one, or after a while."""
LONG: Final = b"long\n"
"""What it says when it is."""
MAX_BYTES: Final = 64 * 1024
"""A reader stops here; a full report takes about 4 KB."""

LONG_WAIT: Final = 0.5
"""Of the objective: a queue in which a request waits for longer is a long one. The other half is what is left until
requests are refused: in the crowd that a pod was not made for, as long as a look and a resize take. Waits are about
exponential, so that where one of a hundred requests is refused one of ten looks finds a queue so long."""

MAX_CAUSES: Final = 64
"""Causes of refusals that a report may name; there are five. A report full of them would be a megabyte as objects."""
Small = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
"""A count that goes into a status: what a pod claims must fit what the API server takes."""
State = Literal["Loading", "Ready", "Draining", "Failed"]


def is_long(wait_s: float, objective_s: float) -> bool:
    """Whether a queue in which a request would wait so long is a long one."""
    return wait_s > LONG_WAIT * objective_s


class ModelIdentity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which model is served: its name, its version and the checksum of the file."""

    name: str
    version: str = "1"
    sha256: str = ""


class PlanInForce(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The plan that the process runs with now, and the grant that it was made for.

    Attributes:
        grant_millicores: CPU that the process found granted (quota and affinity).
        workers: worker threads.
        threads_per_worker: intra-op threads of one run.
        queue_depth: requests that may wait.
        chunk_rows: rows of one run; 0 when requests are not split.
        batch_rows: rows up to which small requests are joined; 0 when they are not.
        why: in words.
    """

    grant_millicores: Small
    workers: Small
    threads_per_worker: Small
    queue_depth: Small
    chunk_rows: Small = 0
    batch_rows: Small = 0
    why: str = ""


class Counters(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Monotonic since the process started. arrivals = admitted + sum(rejected)."""

    arrivals: Count = 0
    admitted: Count = 0
    rejected: Annotated[dict[str, Count], msgspec.Meta(max_length=MAX_CAUSES)] = {}
    completed: Count = 0
    failed: Count = 0
    expired: Count = 0
    cancelled: Count = 0
    busy_worker_seconds: Seconds = 0.0
    cpu_seconds: Seconds = 0.0
    throttled_periods: Count = 0
    throttled_seconds: Seconds = 0.0
    runqueue_wait_seconds: Seconds = 0.0

    @property
    def rejected_total(self) -> int:
        """Requests turned away, for whatever cause."""
        return sum(self.rejected.values())


class Burst(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether CPU beyond the pod's request was there: monotonic, counted only while more than it was wanted.

    Attributes:
        version: of this statement.
        lent_seconds: CPU seconds used beyond the request: the node lent them.
        short_seconds: thread-seconds kept from a CPU, those that the own quota stopped left out: others had it.
    """

    version: Annotated[int, msgspec.Meta(ge=1)] = 1
    request_millicores: Small
    lent_seconds: Seconds = 0.0
    short_seconds: Seconds = 0.0


class Computed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Runs by the clocks of the threads that made them: without what a quota or other work kept them from.

    As moments of one request's share, of as many as `Report.service_time` counts.
    """

    sum_s: Seconds = 0.0
    sum_sq_s2: SecondsSquared = 0.0


class Gauges(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """As of the snapshot.

    Attributes:
        queued, in_flight: requests waiting, requests in the process.
        busy_workers: workers running.
        wait_seconds: how long a request that comes now is expected to wait for a worker.
    """

    queued: Count = 0
    in_flight: Count = 0
    busy_workers: Count = 0
    wait_seconds: Seconds = 0.0

    @property
    def running(self) -> int:
        """Requests in the process that do not wait any more."""
        return max(0, self.in_flight - self.queued)


class ServiceTime(msgspec.Struct, frozen=True, kw_only=True):
    """One calibrated point: seconds that one run of `rows` rows takes on `threads` threads."""

    threads: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    rows: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
    seconds: Seconds


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One snapshot of one runtime process.

    Attributes:
        version: of this contract.
        pod_uid: the pod's metadata.uid, from the downward API; empty outside Kubernetes.
        boot_id: new with each process.
        state: what the process is doing.
        reason: CamelCase cause of `Failed`, by the error tree of `corefit_core.errors`.
        message: what went wrong and what to do, when the state is `Failed`.
        clock_s: the process's monotonic clock at the snapshot; rates are differences over its differences.
        startup_s: seconds from the process's start until it was ready; 0 until then.
        burst: where the pod's CPU limit is above its request; None elsewhere.
    """

    version: Annotated[int, msgspec.Meta(ge=1)] = VERSION
    pod_uid: str = ""
    boot_id: str
    runtime_version: str = ""
    state: State
    reason: str = ""
    message: str = ""
    model: ModelIdentity
    plan: PlanInForce
    clock_s: Seconds
    startup_s: Seconds = 0.0
    counters: Counters = Counters()
    gauges: Gauges = Gauges()
    burst: Burst | None = None
    queue_wait: Histogram = Histogram()
    service_time: Histogram = Histogram()
    computed: Computed = Computed()
    total: Histogram = Histogram()
    profile: Annotated[tuple[ServiceTime, ...], msgspec.Meta(max_length=256)] = ()
    notes: Annotated[Mapping[str, str], msgspec.Meta(max_length=32)] = {}


_DECODER: Final = msgspec.json.Decoder(Report)
_ENCODER: Final = msgspec.json.Encoder()


def encode(report: Report) -> bytes:
    """The report as JSON."""
    return _ENCODER.encode(report)


def decode(body: bytes) -> Report:
    """The report from JSON; unknown fields are ignored.

    Raises:
        InvalidInput: not JSON, not a report, too large, or of an incompatible version.
    """
    if len(body) > MAX_BYTES:
        raise InvalidInput(f"a report of {len(body)} bytes; at most {MAX_BYTES} are read")
    try:
        report = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"not a report: {error}") from error
    if report.version != VERSION:
        raise InvalidInput(f"a report of version {report.version}; this reader knows version {VERSION}")
    return report
