"""Jobs that are killed at random moments until they are done.

It runs as a program, so that children are forked from a process with one thread and all imports. So a kill costs
milliseconds. A child that hangs ends by itself, and fails the test. A job of the command line may be interrupted
(SIGINT) instead. ``python killing.py JOB SIGNAL FOLDER KILLS SEED [ARGUMENT ...]`` prints the number of
kills.
"""

import contextlib
import json
import os
import random
import select
import shutil
import signal
import sys
import traceback
import warnings

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # NumPy's own threads start at import, and a fork with threads may hang

import streamce as ce

STEPS = 60
LIMIT = 120  # seconds


def threads():
    """Return the number of threads of this process, also of those that Python did not start."""
    return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1


def attempt(job, seconds, by=signal.SIGKILL):
    """Run a job in a child that is killed after some seconds (None: never), and return whether the job was done."""
    assert threads() == 1, threads()
    signal.pthread_sigmask(signal.SIG_BLOCK, {by} - {signal.SIGKILL})  # a child that is still in the fork is not ready
    child = os.fork()
    if child == 0:
        signal.alarm(LIMIT)  # its default action ends the child even if it hangs in C
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {by})
            os._exit(job() or 0)
        except KeyboardInterrupt:
            os._exit(130)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    if seconds is not None:
        ended = os.pidfd_open(child)
        select.select([ended], [], [], seconds)  # until the time is up or the child ends
        os.close(ended)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, by)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code != -signal.SIGALRM, f"a child was not done after {LIMIT} seconds"
    assert code in (0, -signal.SIGKILL, 130), code
    return code == 0


def kill(rounds, kills, seed, by):
    """Repeat rounds of a job until it was killed this often.

    A round is a job, a function that returns its progress, which never decreases, and a function that checks the end.
    The lifetime of children adapts to their progress, so that machines of any speed can run this.
    """
    chance, longest, killed = random.Random(seed), 0.004, 0
    while killed < kills:
        job, progress, judge = next(rounds)
        before = progress()
        while not attempt(job, chance.uniform(0, longest) if killed < kills else None, by):
            killed += 1
            now = progress()
            assert now >= before, (now, before)
            longest = longest / 1.3 if now > before else longest * 1.2
            before = now
        judge()
    return killed


def rounds_of(folder, job, progress, judge):
    """Yield the same round again and again, each in an empty folder."""
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        yield job, progress, judge
        left = [name for name in os.listdir(folder) if name.endswith(".tmp")]
        assert left == [], left  # the last save has removed temporary files


def counting(folder):
    """Return the round of a job that adds a batch and saves, again and again."""
    path = folder + "/job.checkpoint"

    def batch(step):
        return [0.1, step / STEPS, 0.7], [0, 1, step % 2]

    def job():
        checkpoint = ce.Checkpoint(path)
        metric, positions = checkpoint.load(ce.BinaryCrossEntropy(), {"offsets": [0]})
        for step in range(positions["offsets"][0], STEPS):
            metric.update(*batch(step))
            checkpoint.save(metric, {"offsets": [step + 1]})

    def progress():
        return ce.Checkpoint(path).load(None, {"offsets": [0]})[1]["offsets"][0]

    def judge():
        whole = ce.BinaryCrossEntropy()
        for step in range(STEPS):
            whole.update(*batch(step))
        assert ce.Checkpoint(path).load()[0].to_bytes() == whole.to_bytes()

    return rounds_of(folder, job, progress, judge)


def saving(folder):
    """Return the round of a job that saves a state that takes a while to write."""
    path = folder + "/job.checkpoint"
    metric = ce.MulticlassCrossEntropy(kind="logits", per_class=True)
    metric.update([[0.0] * 500] * 500, list(range(500)))

    def job():
        checkpoint = ce.Checkpoint(path)
        _, done = checkpoint.load(metric, 0)
        for step in range(done, STEPS):
            checkpoint.save(metric, step + 1)

    def progress():
        found, step = ce.Checkpoint(path).load(metric, 0)
        assert found == metric
        return step

    return rounds_of(folder, job, progress, lambda: None)


def evaluating(folder, *arguments):
    """Return the round of a command, with a checkpoint after each chunk unless the arguments say otherwise."""
    from streamce.cli.main import main

    state = folder + "/state"

    def run(*more):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return main(["eval", *more, *arguments])

    def progress():
        return ce.Checkpoint(state + ".checkpoint").load(None, {"rows": 0})[1]["rows"]

    def judge():
        assert attempt(lambda: run("--state", state + ".whole"), None)
        with open(state, "rb") as ours, open(state + ".whole", "rb") as theirs:
            assert ours.read() == theirs.read()

    return rounds_of(folder, lambda: run("--state", state, "--resume", "--checkpoint-every", "0"), progress, judge)


def watching(folder, source, *arguments):
    """Return the round of a watch whose source grows step by step.

    The source is a file of JSON lines that is renamed half-way and begun anew, or a folder of Parquet files, each of
    which is incomplete at first. The watch is killed while it reads.
    """
    from streamce.cli.main import main

    state, log = folder + "/state", folder + "/log"
    parts = sorted(os.listdir(source))
    lines = parts[0].endswith(".jsonl")
    there, before = folder + "/data" + ".jsonl" * lines, folder + "/before.jsonl"

    def grow():
        """Write a little more, and return whether that was all."""
        if not lines:
            os.makedirs(there, exist_ok=True)
            for name in parts:
                path, whole = f"{there}/{name}", os.path.getsize(f"{source}/{name}")
                if not os.path.exists(path) or os.path.getsize(path) < whole:
                    with open(f"{source}/{name}", "rb") as of, open(path, "ab") as to:
                        of.seek(os.path.getsize(path))
                        to.write(of.read(whole // 2 + 1))
                    return False
            return True
        turned = os.path.exists(before)
        with open(f"{source}/{parts[turned]}", "rb") as of, open(there, "ab") as to:
            of.seek(os.path.getsize(there))
            more = of.read(os.path.getsize(of.name) // 9 + 1)
            to.write(more)
        if not more and not turned and os.path.exists(state + ".checkpoint"):  # it knows the first file
            os.rename(there, before)
        return turned and not more

    def job():
        for number, path in ((1, os.devnull), (2, log)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
        end = False
        while not end:
            end = grow()
            words = ["watch", there, *arguments, "--state", state, "--once", "--checkpoint-every", "0", "--poll", "0"]
            if status := main(words):
                return status
        return 0

    def progress():
        return ce.Checkpoint(state + ".checkpoint").load(None, {"at": {"rows": 0}})[1]["at"]["rows"]

    def judge():
        files = [before, there] if lines else [there]

        def whole():
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return main(["eval", *files, *arguments, "--state", state + ".whole"])

        assert attempt(whole, None)
        with open(state, "rb") as ours, open(state + ".whole", "rb") as theirs:
            assert ours.read() == theirs.read()
        assert attempt(compare_windows, None)  # in a child, because reading Parquet starts threads

    def compare_windows():
        last = ce.Sliding(ce.BinaryCrossEntropy(), samples=10_000)
        for name in [before, there] if lines else [f"{there}/{name}" for name in parts]:
            last.update(*columns(name))
        watched = ce.Checkpoint(state + ".checkpoint").load()[0]
        assert watched["last_10000"].to_bytes() == last.to_bytes()

    def columns(path):
        if lines:
            with open(path, encoding="utf-8") as file:
                rows = [json.loads(line) for line in file]
            return [row["prob"] for row in rows], [row["outcome"] for row in rows]
        from pyarrow import parquet

        table = parquet.read_table(path)
        return table["prob"].to_numpy(), table["outcome"].to_numpy()

    return rounds_of(folder, job, progress, judge)


if __name__ == "__main__":
    warnings.simplefilter("error", RuntimeWarning)  # the previous checkpoint is never needed
    name, by, folder, kills, seed, *arguments = sys.argv[1:]
    jobs = {"counting": counting, "saving": saving, "evaluating": evaluating, "watching": watching}
    print(kill(jobs[name](folder, *arguments), int(kills), int(seed), signal.Signals[by]))
