"""Fuzz commands with damaged files: each gives a result, or an error of one line that names the file.

    python tests/support/fuzz_files.py [--seconds S] [--seed N]

Small files of every format are damaged: anywhere, in their metadata, in their numbers, or cut short. Each is given to
``streamce eval``, ``compare`` or ``watch`` in its own process with limits of memory and time, forked from one that has
imported everything. The same seed gives the same files. A failure is shown with its command and bytes.
"""

import base64
import gzip
import importlib
import json
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import time
from pathlib import Path

import fuzzing
import numpy as np
import pyarrow as pa
from pyarrow import csv, feather, ipc, parquet

from streamce.cli.main import main

SEED = 14  # of the intact files
MEMORY = 3 << 30  # bytes of addresses that a command may add to those at its start
TIME = 20  # seconds after which a command counts as hanging
ROWS = 60
BINARY = ["--task", "binary", "--preds", "p", "--target", "y"]
TASKS = (
    BINARY,
    [*BINARY, "--weight", "w", "--by", "s"],
    [*BINARY, "--invalid", "skip", "--cluster", "y"],
    ["--task", "multiclass", "--preds", "list", "--target", "y"],
    ["--task", "multiclass", "--preds", "p,w", "--target", "y", "--kind", "logits", "--invalid", "skip"],
    ["--task", "sequence", "--preds", "nested", "--target", "tokens"],
    ["--task", "sequence", "--token-log-probs", "logs", "--invalid", "skip"],
)
FEW = TASKS[:3]  # for formats without lists
SIZES = (0, 1, 2, 7, 8, 100, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1)


for command_module in ("compare", "evaluate", "watch"):  # import once, and not in each process
    importlib.import_module(f"streamce.cli.{command_module}")


def table():
    """Return a table with columns for every task."""
    below = np.random.default_rng(SEED)
    lengths = below.integers(1, 4, ROWS)
    return pa.table(
        {
            "p": below.random(ROWS),
            "y": below.integers(0, 2, ROWS),
            "w": below.random(ROWS) + 0.1,
            "s": [f"text {number}" for number in below.integers(0, 9, ROWS)],
            "list": pa.array(below.dirichlet(np.ones(2), ROWS).tolist()),
            "nested": [[[0.25, 0.75]] * int(length) for length in lengths],
            "tokens": [[1] * int(length) for length in lengths],
            "logs": [[-0.5] * int(length) for length in lengths],
        }
    )


def write_ipc(found, path, new, **options):
    with pa.OSFile(path, "wb") as file, new(file, found.schema, **options) as writer:
        writer.write_table(found, max_chunksize=25)


def seeds(folder):
    """Return the intact files: [(name, bytes, tasks)]."""
    found = table()
    few = found.select(["p", "y", "w", "s"])
    arrays = {name: few[name].to_numpy() for name in ("p", "y", "w")}
    arrays["list"] = np.array(found["list"].to_pylist())
    path = os.path.join(folder, "seed")
    made = []

    def add(name, tasks, write):
        write(path)
        made.append((name, Path(path).read_bytes(), tasks))

    add("a.parquet", TASKS, lambda to: parquet.write_table(found, to, row_group_size=25))
    other = {"compression": "zstd", "use_dictionary": False, "data_page_version": "2.0", "write_page_checksum": True}
    add("b.parquet", TASKS, lambda to: parquet.write_table(found, to, **other))
    add("a.arrow", TASKS, lambda to: write_ipc(found, to, ipc.new_file))
    add("a.arrows", TASKS, lambda to: write_ipc(found, to, ipc.new_stream))
    add("a.feather", TASKS, lambda to: feather.write_feather(found, to, chunksize=25))
    encoded = few.set_column(3, "s", few["s"].dictionary_encode())
    add("dictionary.arrow", FEW, lambda to: write_ipc(encoded, to, ipc.new_file))
    add("a.csv", FEW, lambda to: csv.write_csv(few, to))
    packed = gzip.compress(Path(path).read_bytes(), mtime=0)
    add("a.csv.gz", FEW, lambda to: Path(to).write_bytes(packed))
    lines = "".join(json.dumps(row) + "\n" for row in found.to_pylist())
    add("a.jsonl", TASKS, lambda to: Path(to).write_text(lines))
    with_members = [*FEW[:1], FEW[2], TASKS[3]]
    for name, save in (("a.npz", np.savez), ("packed.npz", np.savez_compressed)):
        add(name, with_members, lambda to, save=save: save(open(to, "wb"), **arrays))  # noqa: SIM115
    for name, array in (("a.npy", arrays["p"]), ("fortran.npy", np.asfortranarray(arrays["list"]))):
        add(name, [], lambda to, array=array: np.save(open(to, "wb"), array))  # noqa: SIM115
    return made


def mutated(data, below):
    """Return the bytes of a file that is damaged in one or several ways."""
    data = bytearray(data)
    for _ in range(1 + below(3) * below(2)):
        # Most formats have their metadata at the start or the end.
        near = (len(data), min(len(data), 200), min(len(data), 1500))[below(3)]
        at = below(max(1, near))
        at = len(data) - 1 - at if below(2) else at
        what = below(9)
        if what == 0:
            data[at:at] = bytes(below(256) for _ in range(1 + below(9)))
        elif what == 1:
            del data[at : at + 1 + below(16)]
        elif what == 2:
            del data[at:]
        elif what == 3:
            form, size = (("<i", 4), ("<q", 8), (">q", 8))[below(3)]
            number = SIZES[below(len(SIZES))] * (-1) ** below(2) % 2 ** (8 * size)
            data[at : at + size] = struct.pack(form.upper(), number)
        elif what == 4:  # a number of the compact protocol, as in Parquet's footer
            number, some = SIZES[below(len(SIZES))], b""
            while number > 127:
                some, number = some + bytes([number % 128 + 128]), number // 128
            data[at : at + 1 + below(3)] = some + bytes([number])
        elif what == 5:
            data[at : at + 1] = (b"-", b"9999999999", b'"', b"\n", b"\0", b"[" * 700, b"{", b",")[below(8)]
        elif what == 6:
            other = below(max(1, len(data)))
            data[at : at + 40] = data[other : other + 40]
        elif at < len(data):
            data[at] = below(256) if below(2) else data[at] ^ (1 << below(8))
    return bytes(data)


def command(name, tasks, below):
    """Return the arguments of a command for a file of this name in the working directory."""
    if name.endswith(".npy"):
        target = ["--target", "y.npy"]
        return ["eval", name, "--task", "multiclass" if name == "fortran.npy" else "binary", *target, "--json"]
    task, small = tasks[below(len(tasks))], [[], ["--chunk-rows", "7"]][below(2)]
    if below(6) == 0 and task is BINARY:
        return ["compare", name, "intact.parquet", *task, "--json", *small]
    if below(3) == 0 and name.endswith((".jsonl", ".parquet")):
        source = name if name.endswith("l") else "."
        return ["watch", source, *task[: task.index("--by") if "--by" in task else None], "--once", "--poll", "0"]
    return ["eval", name, *task, "--json", *small]


def run(arguments):
    """Run a command in its own process, and return exit status and output."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            status = 99
            try:
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
                signal.alarm(TIME)
                pages = int(Path("/proc/self/statm").read_text().split()[0])
                size = pages * resource.getpagesize() + MEMORY
                resource.setrlimit(resource.RLIMIT_AS, (size, size))
                status = main(arguments)
                sys.stdout.flush()
                sys.stderr.flush()
            except BaseException:
                import traceback

                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        for file in (out, err):
            file.seek(0)
        return os.waitstatus_to_exitcode(status), out.read().decode(), err.read().decode(errors="replace")


def fault(name, arguments, status, out, err):
    """Return the fault in the end of a command, or None."""
    if status < 0:
        return f"signal {signal.Signals(-status).name}"
    if status not in (0, 1, 2) or "Traceback" in err:
        return f"status {status}"
    if status == 0:
        if arguments[0] == "watch":
            return None
        count = json.loads(out).get("count", 0)
        return None if count >= 0 else f"a count of {count}"
    lines = err.splitlines() if arguments[0] == "eval" else err.splitlines()[-1:]
    lines = [line for line in lines if not line.startswith("streamce: note: skipped ")]  # rows before all were skipped
    if len(lines) != 1 or not lines[0].startswith("streamce: error: "):
        return f"status {status}, and {len(lines)} lines"
    if arguments[0] == "eval" and status == 2 and name not in lines[0]:  # 1: all rows were skipped
        return "an error that does not name the file"
    return "an error of our own" if "unpack_from" in lines[0] or "generator raised" in lines[0] else None


def fuzz(seconds, seed):
    """Try files until the time is up or a fault is found, and return the exit status."""
    below = random.Random(seed).randrange
    end, number, passed = time.monotonic() + seconds, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        np.save("y.npy", table()["y"].to_numpy())
        intact = seeds(folder)
        parquet.write_table(table(), "intact.parquet")
        for name, data, tasks in intact:
            Path(name).write_bytes(data)
            arguments = command(name, tasks, lambda many: many - 1)
            status, out, err = run(arguments)
            assert status == 0, (arguments, out, err)
            os.unlink(name)
        os.mkdir("d")
        os.chdir("d")
        for name in ("y.npy", "intact.parquet"):
            os.link(f"../{name}", f"../d/{name}")
        while time.monotonic() < end:
            name, data, tasks = intact[below(len(intact))]
            data, number = mutated(data, below), number + 1
            Path(name).write_bytes(data)
            arguments = command(name, tasks, below)
            status, out, err = run(arguments)
            passed += status == 0
            if why := fault(name, arguments, status, out, err):
                print(f"file {number} of seed {seed}: {why}: streamce {' '.join(arguments)}\n{err}")
                print(f"{name}, in base64:\n{base64.b64encode(data).decode()}")
                return 1
            os.unlink(name)
        os.chdir("/")
    print(f"{number:,} files of seed {seed}: {passed:,} read, the others refused in a line")
    return 0


if __name__ == "__main__":
    given = fuzzing.arguments().parse_args()
    sys.exit(fuzz(given.seconds, given.seed))
