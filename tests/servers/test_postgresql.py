"""A real PostgreSQL server (Debian: postgresql) adds the rows of states."""

import glob
import os
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest
from engine_sums import CHOSEN, check


@pytest.fixture(scope="module")
def connection():
    """Start a server on a socket in its own folder. It refuses to run as root, so it runs as `postgres`."""
    programs = Path(max(glob.glob("/usr/lib/postgresql/*/bin")))
    account = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        data = folder / "data"
        start = [
            *account,
            programs / "initdb",
            "-D",
            data,
            "-A",
            "trust",
            "-U",
            "postgres",
            "--no-locale",
            "-E",
            "UTF8",
        ]
        subprocess.run(start, check=True, capture_output=True, timeout=120, cwd=name)
        options = [
            *account,
            programs / "postgres",
            "-D",
            data,
            "-k",
            name,
            "-c",
            "listen_addresses=",
            "-c",
            "fsync=off",
        ]
        with subprocess.Popen(options, stderr=subprocess.PIPE, text=True, cwd=name) as server:
            try:
                for line in server.stderr:
                    if "ready to accept connections" in line:
                        break
                with psycopg.connect(host=name, user="postgres", dbname="postgres", autocommit=True) as connected:
                    yield connected
            finally:
                server.terminate()
                server.communicate(timeout=60)
        subprocess.run([*account, "rm", "-rf", data], check=True, timeout=60, cwd=name)


@pytest.mark.parametrize("name", CHOSEN)
def test_sums_of_rows_are_merged_states(connection, name):
    check(name, lambda rows, keys: summed(connection, rows, keys))


def summed(connection, rows, keys):
    names = [*keys, "spec", "cell", "term", "limb"]
    types = {"country": "TEXT", "hour": "BIGINT", "limb": "INTEGER"}
    columns = ", ".join(f"{name} {types.get(name, 'TEXT')}" for name in names)
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS states; CREATE TABLE states ({columns}, amount BIGINT)")
        listed = ", ".join(names)
        with cursor.copy(f"COPY states ({listed}, amount) FROM STDIN") as copy:
            for row in rows.select([*names, "amount"]).to_pylist():
                copy.write_row(list(row.values()))
        cursor.execute(f"SELECT {listed}, SUM(amount) AS amount FROM states GROUP BY {listed}")
        found = cursor.fetchall()
    return dict(zip([*names, "amount"], zip(*found, strict=True), strict=True))
