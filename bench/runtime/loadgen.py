"""The load client: prebuilt requests over keep-alive connections, one thread, one epoll loop, no HTTP library.

It runs as a process of its own (`python -m bench.runtime.loadgen JOB`), pinned to another CPU than the server. A
request costs it about 10 us, less than any Python server's share, so that it measures the server and not itself.
Open loop: it sends when it meant to, however slow the answers are, and latency counts from then. It never sends a
request twice, and knows nothing of what the bytes mean.

Protocol with its parent: prints `ready`, waits for a line, runs, prints `done`, waits for a line, writes the samples
to a file, prints `saved`.
"""

import contextlib
import gc
import math
import os
import select
import socket
import sys
import time
from collections import deque
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from bench.runtime.samples import NOT_SENT, UNANSWERED, Stream

_READ: Final = 1 << 18
_LINGER_S: Final = 3.0
"""An answer that comes later than this after the last request counts as none."""
_CONNECT_S: Final = 5.0


class Connection:
    """One socket and the request on it, if any."""

    __slots__ = ("answered", "got", "intended", "need", "sent", "sock", "status", "stream", "unsent", "writable")

    def __init__(self, stream: "Sender", sock: socket.socket) -> None:
        self.stream = stream
        self.sock = sock
        self.unsent: memoryview | None = None
        self.writable = False
        self.answered = True
        self.intended = self.sent = 0.0
        self.got = 0
        self.need = 0
        self.status = 0


class Sender:
    """One stream of equal requests and its connections."""

    def __init__(self, job: Stream) -> None:
        self.job = job
        self.request = memoryview(Path(job.request_file).read_bytes())
        self.idle: deque[Connection] = deque()
        self.times = job.times()
        self.next = 0
        self.samples: list[tuple[float, float, float, float]] = []
        self.open = 0

    def due(self) -> float:
        """When the next request is to be sent, seconds from the start; never for a closed loop."""
        return self.times[self.next] if self.next < len(self.times) else math.inf


class Client:
    """The loop. `seconds`: when closed-loop streams stop sending, and open-loop ones have sent all."""

    def __init__(self, streams: list[Stream], seconds: float) -> None:
        self._seconds = seconds
        self._poll = select.epoll()
        self._connections: dict[int, Connection] = {}
        self._buffer = bytearray(_READ)
        self._senders = [Sender(job) for job in streams]
        self._in_flight = 0
        self._zero = 0.0

    def connect(self) -> None:
        """Open the connections that each stream starts with."""
        for sender in self._senders:
            for _ in range(sender.job.connections):
                sender.idle.append(self._dial(sender))

    def run(self) -> None:
        """Send all and wait for the answers."""
        self._zero = time.monotonic()
        for sender in self._senders:
            if sender.job.closed:
                while sender.idle:
                    self._send(sender.idle.popleft(), 0.0)
        end = self._seconds + _LINGER_S
        while (now := self._now()) < end:
            due = self._send_due(now)
            if now >= self._seconds and not self._in_flight and due == math.inf:
                break
            self._wait(min(due, end) - now)
        for connection in self._connections.values():
            if not connection.answered:
                self._record(connection, math.inf, UNANSWERED)

    def save(self, path: Path) -> None:
        """The samples of each stream as one array a stream."""
        arrays = {s.job.name: np.array(s.samples, dtype=np.float64).reshape(-1, 4) for s in self._senders}
        np.savez(path, **arrays)  # type: ignore[arg-type]  # its stub takes the names for options

    def _now(self) -> float:
        return time.monotonic() - self._zero

    def _send_due(self, now: float) -> float:
        """Send what is due, and say when the next is."""
        nearest = math.inf
        for sender in self._senders:
            while (due := sender.due()) <= now:
                sender.next += 1
                self._send_open(sender, due)
            nearest = min(nearest, due)
        return nearest

    def _send_open(self, sender: Sender, intended: float) -> None:
        if sender.idle:
            # the one used last: its socket buffers have grown to what the request needs
            self._send(sender.idle.pop(), intended)
        elif sender.open < sender.job.max_connections:
            self._send(self._dial(sender), intended)
        else:
            sender.samples.append((intended, self._now(), math.inf, NOT_SENT))

    def _wait(self, seconds: float) -> None:
        """Events until then. epoll's own timeout has whole milliseconds only, select's microseconds."""
        events = self._poll.poll(0)
        if not events:
            select.select([self._poll], [], [], max(0.0, min(seconds, 0.1)))
            events = self._poll.poll(0)
        for descriptor, event in events:
            connection = self._connections.get(descriptor)
            if connection is None:
                continue
            if event & select.EPOLLOUT:
                self._write(connection)
            if event & ~select.EPOLLOUT:
                self._read(connection)

    def _dial(self, sender: Sender) -> Connection:
        sock = socket.create_connection((sender.job.host, sender.job.port), timeout=_CONNECT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        connection = Connection(sender, sock)
        self._connections[sock.fileno()] = connection
        self._poll.register(sock, select.EPOLLIN)
        sender.open += 1
        return connection

    def _send(self, connection: Connection, intended: float) -> None:
        connection.answered = False
        connection.got = connection.need = 0
        connection.intended = intended
        connection.sent = self._now()
        connection.unsent = connection.stream.request
        self._in_flight += 1
        self._write(connection)

    def _write(self, connection: Connection) -> None:
        left = connection.unsent
        if left is None:
            return
        try:
            left = left[connection.sock.send(left) :]
        except BlockingIOError:
            pass
        except OSError:
            # what the server said before it hung up is still to be read
            left = left[:0]
        connection.unsent = left if len(left) else None
        if connection.writable != bool(len(left)):
            connection.writable = bool(len(left))
            self._poll.modify(connection.sock, select.EPOLLIN | (select.EPOLLOUT if connection.writable else 0))
        if connection.unsent is None and connection.answered:
            self._free(connection)

    def _read(self, connection: Connection) -> None:
        try:
            count = connection.sock.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if not count:
            self._lost(connection)
            return
        if connection.answered:
            return
        if not connection.need:
            self._head(connection, bytes(self._buffer[:count]))
        connection.got += count
        if connection.got >= connection.need:
            self._record(connection, self._now(), connection.status)
            if connection.unsent is None:
                self._free(connection)

    @staticmethod
    def _head(connection: Connection, data: bytes) -> None:
        """Status and length; every server here sends its head in one piece, and with a Content-Length."""
        end = data.index(b"\r\n\r\n") + 4
        connection.status = int(data[9:12])
        head = data[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 : head.index(b"\r\n", at)]) if at >= 0 else 0
        connection.need = end + length

    def _record(self, connection: Connection, done: float, status: int) -> None:
        connection.answered = True
        self._in_flight -= 1
        connection.stream.samples.append((connection.intended, connection.sent, done, status))

    def _free(self, connection: Connection) -> None:
        """Ready for the next request; a closed loop sends it at once."""
        if connection.stream.job.closed and (now := self._now()) < self._seconds:
            self._send(connection, now)
        else:
            connection.stream.idle.append(connection)

    def _lost(self, connection: Connection) -> None:
        """The server closed it: count what was on it, and dial again where a closed loop would run dry."""
        sender = connection.stream
        if not connection.answered:
            self._record(connection, math.inf, UNANSWERED)
        del self._connections[connection.sock.fileno()]
        self._poll.unregister(connection.sock)
        connection.sock.close()
        sender.open -= 1
        with contextlib.suppress(ValueError):
            sender.idle.remove(connection)
        if sender.job.closed and self._now() < self._seconds:
            self._free(self._dial(sender))


def main() -> int:
    """Run the job given as the file named on the command line."""
    job = msgspec.json.decode(Path(sys.argv[1]).read_bytes())
    if job["cpu"] is not None:
        os.sched_setaffinity(0, {job["cpu"]})
    client = Client(msgspec.convert(job["streams"], list[Stream]), job["seconds"])
    client.connect()
    gc.disable()
    print("ready", flush=True)
    sys.stdin.readline()
    client.run()
    print("done", flush=True)
    sys.stdin.readline()
    client.save(Path(job["output"]))
    print("saved", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
