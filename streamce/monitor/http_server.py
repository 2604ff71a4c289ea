"""An HTTP server for one page, on one thread. It limits the number of connections and the time of each.

``http.server`` parses requests, and a WSGI application answers them without waiting. This module adds what both lack:
limits on the number of connections, on their time and on the size of a request, and a check of the Host header. It
never waits for a client, because all sockets are non-blocking.
"""

from __future__ import annotations

import contextlib
import io
import ipaddress
import os
import re
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from streamce.monitor.growing_source import is_out_of_descriptors

try:
    import resource
except ModuleNotFoundError:  # Windows
    resource = None  # type: ignore[assignment]

MAX_SECONDS = 10.0  # longest time of a connection
LINGER_SECONDS = 1.0  # for the client to close a connection after the answer was sent
MAX_CONNECTIONS = 16
MAX_REQUEST_BYTES = 8192  # of a request line and headers
BACKLOG = 64  # connections that wait in the kernel
POLL_SECONDS = 0.2  # between checks for a stop and for connections that are out of time

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[^\s\[\]:@/]+))(?::\d*)?")


def host_name(host: str) -> str | None:
    """Return the name or address in a Host header without its port, or None if it is neither."""
    match = _HOST.fullmatch(host.lower())
    return (match["v6"] or match["name"]).rstrip(".") if match else None


def is_loopback(name: str) -> bool:
    """Return whether a name or address is loopback, without asking a name server."""
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return name == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


class _Connection:
    """A connection: its request so far, and its answer."""

    def __init__(self, client: socket.socket, until: float) -> None:
        self.socket, self.until = client, until
        self.request = bytearray()
        self.answer: memoryview | None = None  # the part that is not sent; None until the request is complete


class _Request(BaseHTTPRequestHandler):
    """A request that has been received completely. The answer is written to memory."""

    default_request_version = "HTTP/1.0"  # not 0.9, whose answers have no status to report errors

    def __init__(self, request: bytes) -> None:
        self.rfile, self.wfile = io.BytesIO(request), io.BytesIO()
        self.client_address, self.close_connection = ("", 0), True
        self.raw_requestline = self.rfile.readline(MAX_REQUEST_BYTES + 1)
        self.parsed = self.parse_request()  # writes an error if it fails

    def version_string(self) -> str:
        return "streamce"

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing, because a scrape is not an event."""

    def reply(self, status: int, body: bytes, headers: Iterable[tuple[str, str]] = ()) -> None:
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(body))), ("Connection", "close")):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: HTTPStatus, why: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        self.reply(status, f"{why}\n".encode(), [("Content-Type", "text/plain; charset=utf-8"), *headers])


@dataclass(frozen=True)
class ListenAddress:
    """An address to listen on, and the host names whose requests are answered there.

    On loopback, the names of loopback are answered too, but no others, because a web page whose name resolves to
    loopback (DNS rebinding) must not read the page. On other addresses, all names are answered if ``allowed_hosts`` is
    empty.
    """

    host: str
    port: int
    allowed_hosts: Iterable[str] = ()


class Server:
    """A server that listens once it is created, and answers between ``start`` and ``close``.

    Parameters
    ----------
    address : ListenAddress
        An address that cannot be used raises OSError or UnicodeError.
    app : WSGI application
        Its environment has only the method, the path, the query and the client's Accept headers.
    log : function of str
        Called with a message if the application fails.
    max_seconds, max_connections
        The time limit of a connection, and the limit of their number. A new one replaces the oldest.
    """

    def __init__(
        self,
        address: ListenAddress,
        app: Callable[..., Iterable[bytes]],
        log: Callable[[str], None] = lambda message: None,
        *,
        max_seconds: float = MAX_SECONDS,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._app, self._log, self._max_seconds = app, log, max_seconds
        self._max_connections = max_connections
        if resource is not None:  # leave other descriptors to the process's own work
            self._max_connections = max(1, min(max_connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 8))
        self._allowed = {name.lower().rstrip(".") for name in address.allowed_hosts}
        self._open: set[_Connection] = set()
        self._stop = threading.Event()
        self._listener = _listening(address.host, address.port)
        self._reserve: int | None = os.open(os.devnull, os.O_RDONLY)
        self.address: str
        self.port: int
        self.address, self.port = self._listener.getsockname()[:2]
        self._is_local = is_loopback(self.address)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="streamce-http", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop, and close all connections."""
        self._stop.set()
        self._thread.join()
        for connection in list(self._open):
            self._close(connection)
        self._selector.close()
        self._listener.close()
        if self._reserve is not None:
            os.close(self._reserve)

    # ---- connections ----

    def _serve(self) -> None:
        while not self._stop.is_set():
            ready = self._selector.select(POLL_SECONDS)
            for key, _ in ready:  # before accepting new connections, which may replace these
                if key.data is not None:
                    self._proceed(key.data)
            now = time.monotonic()
            for connection in [each for each in self._open if each.until <= now]:
                self._close(connection)
            if any(key.data is None for key, _ in ready):
                self._accept()

    def _accept(self) -> None:
        if self._reserve is None:
            with contextlib.suppress(OSError):
                self._reserve = os.open(os.devnull, os.O_RDONLY)
        try:
            client, _ = self._listener.accept()
        except OSError as error:  # the client has often left
            if is_out_of_descriptors(error):
                self._reject()
            return
        client.setblocking(False)
        if len(self._open) >= self._max_connections:
            waiting = [each for each in self._open if each.answer is None]
            self._close(min(waiting or self._open, key=lambda each: each.until))
        connection = _Connection(client, time.monotonic() + self._max_seconds)
        self._open.add(connection)
        self._selector.register(client, selectors.EVENT_READ, connection)
        self._proceed(connection)  # at once, because most requests arrive with the connection

    def _reject(self) -> None:
        """Refuse a waiting connection with the reserved descriptor, because it would stay ready forever."""
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None
        with contextlib.suppress(OSError):
            self._listener.accept()[0].close()
        with contextlib.suppress(OSError):
            self._reserve = os.open(os.devnull, os.O_RDONLY)
        self._stop.wait(POLL_SECONDS / 4)

    def _proceed(self, connection: _Connection) -> None:
        """Read or write what is possible now."""
        try:
            if connection.answer:
                self._send(connection)
            else:
                self._receive(connection)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:  # the client has left
            self._close(connection)
        except Exception as error:  # an error may end one connection, but not the thread that serves all
            self._close(connection)
            with contextlib.suppress(Exception):
                self._log(f"a connection was closed: {error!r}")

    def _receive(self, connection: _Connection) -> None:
        more = connection.socket.recv(MAX_REQUEST_BYTES)
        if not more:
            self._close(connection)
        elif connection.answer is None:  # after the answer, ignore all data
            connection.request += more
            end = _HEAD_END.search(connection.request)
            if end or len(connection.request) > MAX_REQUEST_BYTES:
                request = bytes(connection.request[: end.end() if end else None])
                connection.answer = memoryview(self._answer(request))
                self._selector.modify(connection.socket, selectors.EVENT_WRITE, connection)
                self._send(connection)

    def _send(self, connection: _Connection) -> None:
        assert connection.answer
        connection.answer = connection.answer[connection.socket.send(connection.answer) :]
        if not connection.answer:  # let the client close first, because closing with unread data would lose the answer
            connection.socket.shutdown(socket.SHUT_WR)
            connection.until = min(connection.until, time.monotonic() + LINGER_SECONDS)
            self._selector.modify(connection.socket, selectors.EVENT_READ, connection)

    def _close(self, connection: _Connection) -> None:
        if connection in self._open:
            self._open.remove(connection)
            self._selector.unregister(connection.socket)
            connection.socket.close()

    # ---- requests ----

    def _answer(self, data: bytes) -> bytes:
        request = _Request(data)
        if request.parsed:
            try:
                self._reply(request, len(data))
            except Exception as error:
                self._log(f"{request.path}: no answer: {error!r}")
                request = _Request(data)
                request.refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "the page could not be created")
        elif not request.wfile.tell():  # the parser sends no answer for an empty line
            request.refuse(HTTPStatus.BAD_REQUEST, "expected a request line")
        answer: bytes = request.wfile.getvalue()  # type: ignore[attr-defined]
        return answer

    def _reply(self, request: _Request, size: int) -> None:
        try:
            url = urlsplit(request.path)
        except ValueError:
            return request.refuse(HTTPStatus.BAD_REQUEST, "the URL is not valid")
        hosts = [*request.headers.get_all("Host", []), *filter(None, [url.netloc])]
        if len(hosts) - bool(url.netloc) != 1 and (hosts or request.request_version != "HTTP/1.0"):
            return request.refuse(HTTPStatus.BAD_REQUEST, "expected one Host header")
        if size > MAX_REQUEST_BYTES:
            return request.refuse(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"expected at most {MAX_REQUEST_BYTES} bytes"
            )
        if not all(map(self._is_allowed, hosts)):
            why = "this host name is not allowed: see --allowed-host of streamce watch"
            return request.refuse(HTTPStatus.FORBIDDEN, why)
        if request.command not in ("GET", "HEAD"):
            return request.refuse(HTTPStatus.METHOD_NOT_ALLOWED, "expected GET or HEAD", [("Allow", "GET, HEAD")])
        return request.reply(*self._page(request, url.path, url.query))

    def _page(self, request: _Request, path: str, query: str) -> tuple[int, bytes, list[tuple[str, str]]]:
        """Return the status, body and headers of the application's answer."""
        response: list[Any] = []
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": query}
        for name in ("Accept", "Accept-Encoding"):
            if (value := request.headers.get(name)) is not None:
                environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
        body = b"".join(self._app(environ, lambda status, headers: response.extend((status, headers))))
        return int(response[0].split()[0]), body, response[1]

    def _is_allowed(self, host: str) -> bool:
        name = host_name(host)
        if self._is_local:
            return name is not None and (is_loopback(name) or name in self._allowed)
        return not self._allowed or name in self._allowed


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = socket.socket(family)
    try:
        if os.name == "posix":  # not on Windows, where this option would share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener
