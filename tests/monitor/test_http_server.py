"""``/metrics`` and its watch keep running, whether clients send nonsense, send nothing or do not read."""

import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

import streamce as ce
from streamce.cli.main import main
from streamce.monitor.http_server import MAX_CONNECTIONS, ListenAddress, Server, host_name, is_loopback

COMMAND = [sys.executable, "-m", "streamce", "watch"]
BINARY = ("--task", "binary", "--preds", "p", "--target", "y")
GET = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
PAGE = b"one 1\n"


def page(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [PAGE if environ["PATH_INFO"] != "/large" else bytes(1 << 26)]


@contextlib.contextmanager
def serving(host="127.0.0.1", allowed_hosts=(), **options):
    server = Server(ListenAddress(host, 0, allowed_hosts), page, **options)
    server.start()
    try:
        yield server.port
    finally:
        server.close()


def connected(port, *sent):
    client = socket.create_connection(("127.0.0.1", port), timeout=60)
    for data in sent:
        client.sendall(data)
    return client


def read(client):
    """Return all bytes until the server closes the connection."""
    with client:
        found = b""
        with contextlib.suppress(ConnectionResetError):
            while more := client.recv(65536):
                found += more
    return found


def asked(port, *sent):
    """Send requests, and return status, headers and body of the answer."""
    head, _, body = read(connected(port, *sent)).partition(b"\r\n\r\n")
    first, *headers = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in headers), body


def status_of(port, host, version="1.1"):
    line = b"" if host is None else f"Host: {host}\r\n".encode()
    return asked(port, f"GET / HTTP/{version}\r\n".encode() + line + b"\r\n")[0]


# ---- requests ----


def test_the_page_is_answered_once_and_the_connection_closed():
    with serving() as port:
        for sent in (GET, GET.replace(b"1.1", b"1.0"), GET.replace(b"\r\n", b"\n"), GET + GET, GET + b"x" * 100_000):
            status, headers, body = asked(port, sent)
            assert (status, headers["Content-Length"], headers["Connection"], body) == (200, "6", "close", PAGE)


def test_a_request_may_come_byte_by_byte():
    with serving() as port:
        assert asked(port, *(GET[i : i + 1] for i in range(len(GET))))[2] == PAGE


def test_head_is_the_same_without_the_page():
    with serving() as port:
        status, headers, body = asked(port, GET.replace(b"GET", b"HEAD"))
    assert (status, headers["Content-Length"], body) == (200, "6", b"")


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"NONE"])
def test_other_methods_are_not_allowed(method):
    with serving() as port:
        status, headers, _ = asked(port, GET.replace(b"GET", method))
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000, 431),  # without an end
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 1000 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
        (b"nonsense\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"\n\n", 400),
        (b" \x85\xa0\r\n" + GET, 400),
        (b"\x16\x03\x01\x02\x00 TLS\r\n\r\n", 400),
        (b"GET / HTTP/3.0\r\nHost: localhost\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        (b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\n\r\n", 200),
        (b"GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        (b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 403),
    ],
)
def test_requests_that_are_none_have_an_answer(sent, status):
    with serving() as port:
        assert asked(port, sent)[0] == status
        assert asked(port, GET)[0] == 200


def test_a_page_that_cannot_be_made_is_said_and_ends_nothing():
    said = []

    def broken(environ, start_response):
        raise ZeroDivisionError("of no use")

    server = Server(ListenAddress("127.0.0.1", 0), broken, log=said.append)
    server.start()
    try:
        assert [asked(server.port, GET)[0] for _ in range(2)] == [500, 500]
    finally:
        server.close()
    assert said == ["/metrics: no answer: ZeroDivisionError('of no use')"] * 2


def test_a_log_that_cannot_be_written_ends_one_connection_alone():
    broken = [True]

    def application(environ, start_response):
        if broken.pop():
            raise ZeroDivisionError
        return page(environ, start_response)

    def closed(text):
        raise ValueError("I/O operation on closed file")

    server = Server(ListenAddress("127.0.0.1", 0), application, log=closed)
    server.start()
    try:
        assert read(connected(server.port, GET)) == b""
        broken.append(False)
        assert asked(server.port, GET)[0] == 200
    finally:
        server.close()


# ---- hosts ----


@pytest.mark.parametrize(
    ("host", "local"),
    [("localhost", True), ("LocalHost:9464", True), ("localhost.", True), ("127.0.0.1", True), ("127.8.9.1:80", True),
     ("[::1]", True), ("[::1]:9464", True), ("[::ffff:127.0.0.1]", True), ("evil.example", False),
     ("localhost.evil.example", False), ("127.0.0.1.evil.example", False), ("10.0.0.1", False), ("[::2]", False),
     ("evil@localhost", False), ("localhost@evil.example", False), ("", False), ("127.1", False), ("0.0.0.0", False),
     ("localhost:x", False), ("local host", False), ("[localhost]", False)],
)  # fmt: skip
def test_bound_to_loopback_only_its_names_are_answered(host, local):
    with serving() as port:
        assert status_of(port, host) == status_of(port, host, "1.0") == (200 if local else 403)
    assert bool((name := host_name(host)) and is_loopback(name)) is local


def test_names_may_be_allowed_beside_those_of_loopback():
    with serving(allowed_hosts=["Metrics.example", "10.0.0.1"]) as port:
        for host in ("metrics.example:80", "METRICS.example.", "10.0.0.1", "localhost"):
            assert status_of(port, host) == 200
        assert status_of(port, "other.example") == 403


def test_bound_elsewhere_all_names_are_answered_or_those_allowed():
    with serving("0.0.0.0") as port:
        assert status_of(port, "any.example") == status_of(port, "any.example:1") == 200
    with serving("0.0.0.0", allowed_hosts=["one.example"]) as port:
        assert [status_of(port, host) for host in ("one.example", "any.example", "localhost")] == [200, 403, 403]


# ---- slow clients ----


def test_half_a_request_is_closed_at_its_time_also_if_it_drips():
    with serving(max_seconds=0.5) as port:
        silent, dripping = connected(port, GET[:-1]), connected(port, GET[:5])
        closed = threading.Event()

        def drip():
            with contextlib.suppress(OSError):
                while not closed.wait(0.05):
                    dripping.sendall(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert (read(silent), read(dripping)) == (b"", b"")
        finally:
            closed.set()
            thread.join()


def test_who_does_not_read_the_answer_is_closed_at_his_time():
    with serving(max_seconds=1.0) as port:
        slow = connected(port, GET.replace(b"/metrics", b"/large"))
        assert asked(port, GET)[0] == 200  # meanwhile
        time.sleep(1.5)
        assert len(read(slow)) < 1 << 26  # the kernel holds a part of it


def test_who_keeps_the_connection_after_the_answer_is_closed_soon():
    with serving() as port, connected(port, GET) as client:
        end = time.monotonic() + 60
        while client.recv(65536):
            pass
        with contextlib.suppress(OSError):
            while time.monotonic() < end:
                client.sendall(b"x")
                time.sleep(0.05)
        assert time.monotonic() < end


def test_a_new_connection_takes_the_place_of_the_oldest_half_request():
    with serving(max_seconds=600, max_connections=3) as port, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(port, GET[:9])) for _ in range(10)]
        assert asked(port, GET)[2] == PAGE
        assert [client.recv(1) for client in clients[:7]] == [b""] * 7
        clients[-1].sendall(GET[9:])
        assert read(clients[-1]).endswith(PAGE)


# ---- a watch ----


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextlib.contextmanager
def watching(*arguments, source="a.jsonl", limit=None):
    """Start a watch that serves, with a limit of open files, and yield it with its port."""
    words = [*COMMAND, source, *BINARY, "--port", "0", "--poll", "0.02", "--checkpoint-every", "0", *arguments]
    limited = ["bash", "-c", f'ulimit -n {limit}; exec "$@"', "-", *words] if limit else words
    with subprocess.Popen(limited, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            port = next(int(m[1]) for line in child.stderr if (m := re.search(r"serving .*:(\d+)/metrics", line)))
            yield child, port
        finally:
            child.kill()


def add(number):
    with open("a.jsonl", "a") as file:
        file.write('{"p": 0.25, "y": 1}\n' * number)


def counted(port):
    return int(re.search(rb"^streamce_watch_rows_total (\d+)", asked(port, GET)[2], re.MULTILINE)[1])


def until(check, seconds=60.0):
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_half_sent_requests_stop_no_watch_and_no_scrape(folder):
    add(5)
    with watching("--state", "S", limit=256) as (child, port), contextlib.ExitStack() as stack:
        until(lambda: counted(port) == 5)
        for _ in range(300):
            stack.enter_context(connected(port, GET[:20]))
        assert len(os.listdir(f"/proc/{child.pid}/fd")) < 64 + MAX_CONNECTIONS
        add(7)
        until(lambda: counted(port) == 12)
        child.send_signal(signal.SIGTERM)
        _, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, "")
    assert ce.load("S").summary().count == 12


def test_without_descriptors_a_watch_tries_again(folder):
    add(5)
    with watching("--state", "S") as (child, port):
        until(lambda: counted(port) == 5 and os.path.exists("S"))
        soft, hard = resource.prlimit(child.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (0, hard))  # from now on it cannot open files
        add(7)
        assert "Too many open files: trying again" in child.stderr.readline()
        with connected(port, GET) as waiting:
            os.rename("a.jsonl", "a.jsonl.1")
            add(9)
            time.sleep(0.5)  # the watch fails several more times
            assert child.poll() is None
            resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (soft, hard))
            until(lambda: counted(port) == 21)
            read(waiting)
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=60)
    assert child.returncode == 0
    assert ce.load("S").summary().count == 21


def test_without_descriptors_a_folder_is_looked_at_again(folder):
    os.mkdir("there")

    def write(name, number):
        parquet.write_table(pa.table({"p": [0.25] * number, "y": [1] * number}), "new")
        os.rename("new", f"there/{name}.parquet")

    write("a", 5)
    with watching("--state", "S", source="there") as (child, port):
        until(lambda: counted(port) == 5 and os.path.exists("S"))
        soft, hard = resource.prlimit(child.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (0, hard))
        write("b", 7)
        assert "Too many open files" in child.stderr.readline()
        time.sleep(0.5)
        assert child.poll() is None
        resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (soft, hard))
        until(lambda: counted(port) == 12)
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=60)
    assert child.returncode == 0
    assert ce.load("S").summary().count == 12


def test_a_watch_answers_the_hosts_it_is_told(folder):
    add(5)
    with watching("--allowed-host", "a.example", "--allowed-host", "b.example") as (_, port):
        hosts = ("localhost", "a.example", "b.example:80", "c.example")
        assert [status_of(port, host) for host in hosts] == [200, 200, 200, 403]


@pytest.mark.parametrize("host", ["", "a:80", "http://a", "a b", "x@a"])
def test_a_host_that_is_no_name_is_a_usage_error(folder, capsys, host):
    assert main(["watch", "a.jsonl", *BINARY, "--port", "0", "--allowed-host", host]) == 2
    assert "is not a host name or address without a port" in capsys.readouterr().err


def test_allowed_hosts_without_a_port_are_a_usage_error(folder, capsys):
    Path("a.jsonl").touch()
    assert main(["watch", "a.jsonl", *BINARY, "--allowed-host", "a.example"]) == 2
    assert capsys.readouterr().err == "streamce: error: --allowed-host needs --port\n"
