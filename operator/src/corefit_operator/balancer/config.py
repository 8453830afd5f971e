"""HAProxy's configuration: each request goes to the pod with the fewest requests, whoever sent it and how. Pure.

Requests wait in the pods, never here: a pod knows its deadlines, refuses what it can't answer in time, and counts what
waits and what it refuses. So each request is counted once. All that is refused here is what comes while no pod serves.
"""

from typing import Final

from corefit_core import naming
from corefit_core.pods.container import DRAIN_S
from corefit_core.spec.serving_spec import ServingSpec

HEALTH_PORT: Final = 8404
IN_FLIGHT_S: Final = 30
"""Seconds on top of the latency objective for requests that are in flight when a balancer ends."""
OPEN_FILES: Final = 40_000
"""Two a request, so 20,000 connections at a time, or fewer where the node allows fewer files; further ones wait in the
kernel. Without a bound HAProxy takes memory for as many as the node allows, which can be a billion. 9,000 idle ones
make it 12 MB larger."""
CONNECTIONS: Final = 18_000
"""Of clients at a time: the rest of those that `OPEN_FILES` are enough for is for probes and metrics. Where clients had
all of them, the kubelet ended the balancer."""
PEER_CONNECTIONS: Final = CONNECTIONS // 2
"""Of one address, which may be a gateway's: one peer never keeps all others out. Further ones are closed at once."""
HEALTH_CONNECTIONS: Final = 100
"""Of one address to the port of probes and metrics, which every pod of the cluster reaches."""
CLIENT_S: Final = 65
"""Seconds for which a client may take nothing of an answer, or send nothing of a body: it holds a buffer meanwhile."""
BUFFERS: Final = 4096
"""Of 16 KiB, one for each request that is on its way through HAProxy: half of its memory. Who finds none waits. Without
a bound 7,000 clients that each send 14 KB of a head, and no end of it, have it killed."""
_SLOTS_MIN: Final = 16
_WEIGHT_MAX: Final = 256
MOST_PODS: Final = 250
"""A DNS answer of 8 KiB, the most that HAProxy reads by UDP, has room for about 500 addresses."""

_TEMPLATE: Final = """\
global
  log stdout format raw local0 notice
  # One thread: a second one would need a second core, and one core carries thousands of requests a second.
  nbthread 1
  fd-hard-limit {files}
  tune.buffers.limit {buffers}
  # A body of 600 KB then takes 0.15 ms of CPU here instead of 0.4.
  tune.pipesize 262144
  # By SIGUSR1 it goes on accepting for so long, as pods do: until then nodes still send connections here.
  grace {drain_s}s
  hard-stop-after {hard_stop_s}s

resolvers cluster
  parse-resolv-conf
  accepted_payload_size 8192
  timeout resolve 1s
  timeout retry 1s
  # Without an answer the pods that were known stay.
  hold timeout 1h
  hold refused 1h
  hold other 1h
  hold nx 0s

defaults
  mode http
  log global
  option dontlognull
  option dontlog-normal
  # The kernel finds out about a peer whose node is gone.
  option clitcpka
  option srvtcpka
  srvtcpka-idle 5s
  srvtcpka-intvl 5s
  srvtcpka-cnt 3
  # When it ends, a client that doesn't look for the end of an idle connection gets one more answer.
  option idle-close-on-response
  option splice-request
  timeout connect 1s
  timeout check 2s
  # As the runtime: a head that does not come holds a buffer.
  timeout http-request 10s
  timeout http-keep-alive 10m
  # How long a request may take is the pod's to say. It is none of the client's time.
  timeout server 1h
  timeout client {client_s}s
  http-error status 502 content-type application/json string '{{"error":"the pod ended before it answered"}}'
  http-error status 503 content-type application/json string '{{"error":"no pod serves now"}}' hdr Retry-After 1

frontend http
  bind "${{POD_IP}}:{port}"
  maxconn {connections}
  stick-table type ipv6 size 10k expire 1m store conn_cur
  tcp-request connection track-sc0 src
  tcp-request connection reject if {{ sc0_conn_cur gt {peer_connections} }}
  # A report of one pod's load would count as the balancer's own with a proxy in front.
  http-request del-header endpoint-load-metrics-format
  default_backend pods

backend pods
  balance leastconn
  # A request whose connection fails before a byte of the answer goes to another pod, once: it may be what ended the
  # first one, and would end all of them.
  retries 1
  option redispatch 1
  retry-on conn-failure empty-response
  # Whether a process is there; whether it serves is the kubelet's to say, and DNS names pods that are ready.
  # How much a pod can take it says itself, in percent of one of the size that pods start with.
  default-server check inter 1s fall 1 rise 1 weight {weight} agent-check agent-port {agent} agent-inter 1s
  # Nothing goes to a pod that has refused a connection until a check finds it back. It has the fewest requests, and
  # would be the first choice of each.
  default-server observe layer4 error-limit 1 on-error mark-down
  default-server resolvers cluster init-addr none
  server-template pod 1-{slots} {host}:{port}

frontend health
  bind "${{POD_IP}}:{health}"
  timeout http-keep-alive 30s
  stick-table type ipv6 size 10k expire 1m store conn_cur
  tcp-request connection track-sc0 src
  tcp-request connection reject if {{ sc0_conn_cur gt {health_connections} }}
  # Ready once it has seen a pod; from then on it says itself that there is none.
  http-request set-var(proc.served) bool(true) if {{ nbsrv(pods) gt 0 }}
  http-request use-service prometheus-exporter if {{ path /metrics }}
  http-request return status 200 if {{ path /livez }}
  http-request return status 200 if {{ path /readyz }} {{ var(proc.served) -m bool }}
  http-request return status 503
"""


def text(spec: ServingSpec, pods_host: str) -> str:
    """The configuration.

    Args:
        spec: of what is balanced.
        pods_host: the DNS name whose addresses are the pods that are ready.
    """
    return _TEMPLATE.format(
        files=OPEN_FILES,
        buffers=BUFFERS,
        connections=CONNECTIONS,
        peer_connections=PEER_CONNECTIONS,
        health_connections=HEALTH_CONNECTIONS,
        client_s=CLIENT_S,
        drain_s=DRAIN_S,
        hard_stop_s=hard_stop_s(spec),
        port=naming.PORT_HTTP,
        health=HEALTH_PORT,
        slots=_slots(spec),
        weight=_weight(spec),
        agent=naming.PORT_AGENT,
        host=pods_host,
    )


def hard_stop_s(spec: ServingSpec) -> int:
    """Seconds from the signal until what is still in flight is cut."""
    return DRAIN_S + IN_FLIGHT_S + round(spec.objective.latency_s)


def most_pods(spec: ServingSpec) -> int:
    """Pods that there may be by the resource's own word."""
    return max(spec.policy.max_replicas, spec.manual_replicas if spec.mode == "Manual" else 0)


def _weight(spec: ServingSpec) -> int:
    """What a pod of the size that pods start with weighs: as much as leaves room for the largest one below 256."""
    sizes = (spec.policy.cpu_range.max_millicores if spec.policy.cpu_range else 0, spec.burst_millicores or 0)
    largest = max(spec.millicores, spec.startup_millicores or 0, *sizes)
    return max(1, _WEIGHT_MAX * spec.millicores // largest)


def _slots(spec: ServingSpec) -> int:
    """Room for pods: twice as many as there may be, in steps of two, so that few changes replace the balancers."""
    slots = _SLOTS_MIN
    while slots < 2 * most_pods(spec):
        slots *= 2
    return slots
