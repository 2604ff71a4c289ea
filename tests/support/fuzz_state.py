"""Fuzz the readers of states and checkpoints with atheris: no bytes crash or hang them, and only intact ones pass.

    python tests/support/fuzz_state.py [--seconds S] [--seed N]

Atheris keeps inputs that reach new code. It sees the Python code of streamce and of the independent reader, which takes
the same branches as the compiled one. Checksums are repaired. If the first byte is odd, the bytes are a checkpoint,
else a state. A crash, a hang, too much memory, or a result that tests/support/state_fuzzing.py does not allow is a
failure, and the bytes are shown.
"""

import base64
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import fuzzing

LIMITS = [
    "-timeout=20",
    "-rss_limit_mb=2048",
    "-malloc_limit_mb=512",
    "-max_len=4096",
    "-print_final_stats=1",
    "-verbosity=0",
]


def main(seconds: int, seed: int) -> int:
    """Run the fuzzer in its own process, which ends at the first failure, and in a temporary folder."""
    import golden_states

    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for first, paths in enumerate((golden_states.files(), golden_states.checkpoints())):
            for path in paths:
                name = f"{path.parent.name}-{path.name}"
                (corpus / name).write_bytes(bytes([first]) + path.read_bytes()[:-16])
        limits = [*LIMITS, f"-max_total_time={seconds}", f"-seed={seed + 1}", f"-artifact_prefix={folder}/found-"]
        command = [sys.executable, "-B", __file__, "--fuzz", *limits, str(corpus)]
        run = subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONHASHSEED": "0"}, check=False)
        for path in sorted(Path(folder).glob("found-*")):
            found = base64.b64encode(path.read_bytes()).decode()
            print(
                f"{path.name}, a byte that says which reader and the bytes without their checksum, in base64:\n{found}"
            )
    if run.returncode:
        print(f"found something: exit status {run.returncode}")
    return 1 if run.returncode else 0


def fuzz(arguments: list[str]) -> None:
    import atheris

    with atheris.instrument_imports(include=["streamce", "state_reader"]):
        import state_fuzzing
    import state_writer

    def one(raw: bytes) -> None:
        check = state_fuzzing.check_checkpoint if of_checkpoints(raw) else state_fuzzing.check
        check(state_writer.sealed(raw[1:]))

    def mutate(raw: bytes, size: int, seed: int) -> bytes:
        """Mutate bytes: half of the time in terms of the format, else as libFuzzer does."""
        below = random.Random(seed).randrange
        if below(2):
            return atheris.Mutate(raw, size)[:size]
        changed = state_fuzzing.mutated_checkpoint if of_checkpoints(raw) else state_fuzzing.mutated
        return (raw[:1] + changed(raw[1:], below))[:size]

    def of_checkpoints(raw: bytes) -> bool:
        return bool(raw) and raw[0] % 2 == 1

    atheris.Setup([sys.argv[0], *arguments], one, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--fuzz"]:
        fuzz(sys.argv[2:])
    else:
        given = fuzzing.arguments(30).parse_args()
        sys.exit(main(given.seconds, given.seed))
