"""What must be true of any bytes that a reader is given, and bytes to try it with.

Randomness comes as ``below(n)``, an integer from 0 to n - 1: hypothesis and atheris both have one.
"""

from contextlib import suppress

import golden_states
import state_reader
from state_writer import body, ledger, record, u

import streamce as ce

SEEDS = [path.read_bytes()[:-16] for path in golden_states.files()]
# Where arithmetic, sizes and limits change.
EDGES = (
    *(0, 1, 2, 3, 7, 8, 9, 63, 64, 127, 128, 254, 255, 256, 257, 2**15, 2**16 - 1, 2**24 - 1, 2**24, 2**24 + 1),
    *(2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**62 - 1, 2**62, 2**62 + 1, 2**63 - 1, 2**63, 2**63 + 1),
    *(2**64 - 2**62 - 1, 2**64 - 2**62, 2**64 - 9, 2**64 - 2, 2**64 - 1),
)


def check(data):
    """Whether ``data`` is a state. If it is, it means what the independent reader says; if not, it is an error."""
    try:
        held = state_reader.read(data)
    except state_reader.Malformed:
        held = None
    found = refused = None
    try:
        found = ce.from_bytes(data)
    except ce.InputError as error:
        refused = error
    if refused is not None:
        unknown = held is not None and held.metric not in ce.metrics.restore.METRICS
        assert refused.argument == "state"
        assert held is None or unknown or "memory" in str(refused)
        return False
    assert held is not None
    assert found.to_bytes() == data
    assert type(found).__name__ == held.metric
    for name, part in held.parts.items():
        if not isinstance(part, state_reader.Ledger):
            continue
        ours = getattr(found._state, name)
        assert ours.size == part.size
        for cell, columns in part.cells.items():
            assert {column: ours.integer(column, cell) for column in columns} == columns
    for use in (found.summary, lambda: found + found):
        with suppress(ce.InputError):  # more taken away than added, integers beyond their range
            use()
    assert found - found == found.copy().reset()
    return True


# ---- changed bytes ----


def mutated(raw, below):
    """A body that was changed in a place or a few: as bytes, with right lengths, or with right records."""
    for _ in range(1 + below(3)):
        raw = (any_bytes, a_number, a_piece, a_cell)[below(4)](raw, below)
    return raw


def any_bytes(raw, below):
    """A bit or byte changed; a slice cut out, said twice, put elsewhere, or taken from another state."""
    at, end = sorted((below(len(raw) + 1), below(len(raw) + 1)))
    end = min(end, at + (1, 8, 64, len(raw))[below(4)])
    some, to = raw[at:end], below(len(raw) + 1)
    kind = below(6)
    if kind == 0 and some:
        return raw[:at] + bytes([some[0] ^ 1 << below(8)]) + raw[at + 1 :]
    if kind == 1 and some:
        return raw[:at] + bytes([EDGES[below(len(EDGES))] % 256]) + raw[at + 1 :]
    if kind == 2:
        return raw[:at] + raw[end:]
    if kind == 3:
        return raw[:to] + some + raw[to:]
    if kind == 4:
        other = SEEDS[below(len(SEEDS))]
        return raw[:at] + other[at:end] + raw[end:]
    return raw[:at] + bytes(below(256) for _ in range(below(9))) + raw[at:]


def a_number(raw, below):
    """A number of the format, or any bytes as one, is another."""
    fields = []
    with suppress(state_reader.Malformed):
        state_reader.read_body(raw, fields)
    if fields and below(4):
        at, width = fields[below(len(fields))]
    else:
        at, width = below(len(raw) + 1), 1 << below(4)
    number = int.from_bytes(raw[at : at + width], "little")
    number = (number + 1, number - 1, number * 2, -number, EDGES[below(len(EDGES))])[below(5)]
    return raw[:at] + u(width, number) + raw[at + width :]


def split(raw):
    """(version, header, [(name, payload)]) of a body, or None if it has none."""
    if len(raw) < 14:
        return None
    at = 14 + int.from_bytes(raw[10:14], "little")
    header, parts = raw[14:at], []
    while at < len(raw):
        name = raw[at + 1 : at + 1 + raw[at]]
        at += 1 + len(name)
        size = int.from_bytes(raw[at : at + 8], "little")
        parts.append((name, raw[at + 8 : at + 8 + size]))
        at += 8 + size
    return int.from_bytes(raw[8:10], "little"), header, parts


def a_piece(raw, below):
    """A header, or a name or payload of a part, changed, and all lengths right; or parts in another order."""
    pieces = split(raw)
    if pieces is None:
        return raw
    version, header, parts = pieces
    where = below(4)
    if where == 0 or not parts:
        header = any_bytes(header, below)
    else:
        at = below(len(parts))
        name, payload = parts[at]
        if where == 1:
            parts[at] = ((b"total", b"cells", b"buckets", b"groups", any_bytes(name, below)[:255])[below(5)], payload)
        elif where == 2:
            parts[at] = (name, any_bytes(payload, below))
        else:
            parts.insert(below(len(parts) + 1), parts.pop(at) if below(2) else parts[at])
    return body(header, *parts, version=version)


def a_cell(raw, below):
    """A cell of a ledger changed, left out, said twice or moved, and all counts and lengths right."""
    pieces = split(raw)
    if pieces is None or not pieces[2]:
        return raw
    version, header, parts = pieces
    at = below(len(parts))
    name, payload = parts[at]
    cells = cells_of(payload)
    if not cells:
        return raw
    i, kind = below(len(cells)), below(6)
    number, words = cells[i]
    if kind == 0:
        cells[i] = (number, any_bytes(words, below))
    elif kind == 1:
        cells[i] = (EDGES[below(len(EDGES))], words)
    elif kind == 2:
        cells[i] = (number, some_record(below))
    elif kind == 3:
        del cells[i]
    elif kind == 4:
        cells.insert(below(len(cells) + 1), (number + below(2), words))
    else:
        cells.insert(below(len(cells)), cells.pop(i))
    size = int.from_bytes(payload[:8], "little")
    size = EDGES[below(len(EDGES))] if below(8) == 0 else size
    parts[at] = (name, ledger(size, *cells))
    return body(header, *parts, version=version)


def cells_of(payload):
    """[(number, record)] of what may be a ledger."""
    cells, at = [], 16
    while at + 12 <= len(payload):
        start, bits = at + 8, int.from_bytes(payload[at + 8 : at + 12], "little")
        number, at = int.from_bytes(payload[at : at + 8], "little"), at + 12
        for _ in range(bits.bit_count()):
            if at + 1 < len(payload):
                at += 2 + 8 * payload[at + 1]
        cells.append((number, payload[start:at]))
    return cells


# ---- bytes from a grammar ----

HEADERS = sorted({split(seed)[1] for seed in SEEDS})


def some_body(below):
    """A body of pieces that are mostly right."""
    names = [b"total", b"cells", b"buckets", b"groups", b"", b"tota", b"totals", b"\xff" * 255]
    chosen = [names[below(3 if below(8) else len(names))] for _ in range(below(4))]
    if below(8):
        chosen = sorted(set(chosen))
    header = HEADERS[below(len(HEADERS))]
    return body(header, *((name, some_ledger(name, below)) for name in chosen), version=1 if below(32) else below(4))


def some_ledger(name, below):
    size = {b"total": 1, b"buckets": 256}.get(name, (1, 3, 64, 65, 300, 2**24)[below(6)])
    if below(16) == 0:
        size = EDGES[below(len(EDGES))]
    numbers = [below(size or 1) if below(32) else EDGES[below(len(EDGES))] for _ in range(1 + below(4))]
    if below(8):
        numbers = sorted(set(numbers))
    count = EDGES[below(len(EDGES))] if below(32) == 0 else None
    return ledger(size, *((number, some_record(below)) for number in numbers), count=count)


def some_record(below):
    columns = sorted({below(29 if below(16) == 0 else 28) for _ in range(1 + below(6))})
    raw = record(*((column, *some_words(column < 5, below)) for column in columns))
    return raw if below(16) else raw[: below(len(raw))]


def some_words(is_sum, below):
    width = (1, 1, 2, 3, 16, 254, 255)[below(7)] if is_sum or below(32) == 0 else 1
    first = (0, 1, 15, 16, 253, 254, 255)[below(7)] if is_sum or below(32) == 0 else 0
    if below(8):
        width = max(1, min(width, 255 - first))
    words = [1 + below(9), *(EDGES[below(len(EDGES))] for _ in range(width - 1))]
    if below(4) == 0:
        words[-1] = EDGES[below(len(EDGES))]
    return first, words
