"""No bytes crash or hang a reader, and none but the intact are accepted: with atheris, for a while.

    python tests/fuzz_state.py [seconds]

Atheris keeps what reaches code that nothing reached before. What it sees is the Python of streamce and of the
independent reader, which takes the turns of the compiled one; checksums are repaired. A crash, a hang, too much
memory, or anything that tests/state_fuzzing.py does not allow fails, and shows the bytes.
"""

import base64
import random
import subprocess
import sys
import tempfile
from pathlib import Path

SECONDS = 30
LIMITS = [
    "-timeout=20",
    "-rss_limit_mb=2048",
    "-malloc_limit_mb=512",
    "-max_len=4096",
    "-print_final_stats=1",
    "-verbosity=0",
]


def main(seconds: int) -> int:
    """Runs the fuzzer in a process of its own, which ends when it finds something, in a folder that is removed."""
    from golden_states import files

    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for path in files():
            (corpus / f"{path.parent.name}-{path.stem}").write_bytes(path.read_bytes()[:-16])
        limits = [*LIMITS, f"-max_total_time={seconds}", f"-artifact_prefix={folder}/found-"]
        command = [sys.executable, "-B", __file__, "--fuzz", *limits, str(corpus)]
        run = subprocess.run(command, cwd=folder, check=False)
        for path in sorted(Path(folder).glob("found-*")):
            print(f"{path.name}, without its checksum, in base64:\n{base64.b64encode(path.read_bytes()).decode()}")
    if run.returncode:
        print(f"found something: exit status {run.returncode}")
    return 1 if run.returncode else 0


def fuzz(arguments: list[str]) -> None:
    import atheris

    with atheris.instrument_imports(include=["streamce", "state_reader"]):
        import state_fuzzing
    import state_writer

    def one(raw: bytes) -> None:
        state_fuzzing.check(state_writer.sealed(raw))

    def mutate(raw: bytes, size: int, seed: int) -> bytes:
        """Half of the time as the format has it, else as libFuzzer would."""
        below = random.Random(seed).randrange
        changed = state_fuzzing.mutated(raw, below) if below(2) else atheris.Mutate(raw, size)
        return changed[:size]

    atheris.Setup([sys.argv[0], *arguments], one, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--fuzz"]:
        fuzz(sys.argv[2:])
    else:
        sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else SECONDS))
