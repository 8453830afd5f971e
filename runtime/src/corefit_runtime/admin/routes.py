"""A handler that answers by method and path."""

from collections.abc import Callable

from corefit_runtime.http.exchange import Exchange
from corefit_runtime.http.messages import TEXT, Response

Route = Callable[[Exchange], None]


class Routes:
    """A handler that answers by method and path."""

    def __init__(self, routes: dict[tuple[bytes, str], Route]) -> None:
        self._routes = routes

    def __call__(self, exchange: Exchange) -> None:
        """Answers one exchange."""
        method, wanted = exchange.head.method, exchange.head.path
        # The connection leaves the body of an answer to HEAD away.
        route = self._routes.get((b"GET" if method == b"HEAD" else method, wanted))
        allowed = [known for known, path in self._routes if path == wanted]
        if route is not None:
            route(exchange)
        elif allowed:
            allow = b", ".join([*allowed, b"HEAD"] if b"GET" in allowed else allowed)
            exchange.reply(Response(405, [b"method not allowed\n"], TEXT, [(b"allow", allow)]))
        else:
            paths = ", ".join(sorted(path for _, path in self._routes))
            exchange.reply(Response(404, [f"not here; there are {paths}\n".encode()], TEXT))
