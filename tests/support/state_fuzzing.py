"""Laws for all bytes that readers of states or checkpoints get, and bytes to test them with.

Randomness comes from ``below(n)``, an integer from 0 to n - 1, which hypothesis and atheris both provide.
"""

import json
from contextlib import suppress

import golden_states
import state_reader
from state_reader import BOOL, BYTES, DATETIME, INT, NONE, STR
from state_writer import body, checkpoint, groups, key, ledger, record, sealed, u

import streamce as ce

SEEDS = [path.read_bytes()[:-16] for path in golden_states.files()]
CHECKPOINTS = [path.read_bytes()[:-16] for path in golden_states.checkpoints()]
# Numbers at which arithmetic, sizes and limits change.
EDGES = (
    *(0, 1, 2, 3, 7, 8, 9, 63, 64, 127, 128, 254, 255, 256, 257, 2**15, 2**16 - 1, 2**24 - 1, 2**24, 2**24 + 1),
    *(2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**62 - 1, 2**62, 2**62 + 1, 2**63 - 1, 2**63, 2**63 + 1),
    *(2**64 - 2**62 - 1, 2**64 - 2**62, 2**64 - 9, 2**64 - 2, 2**64 - 1),
)
KINDS = (None, "int", "str", "bytes", "datetime", "bool")


def check(data):
    """Return whether ``data`` is a state. Check that streamce and the independent reader agree on it."""
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
        assert refused.argument == "state"
        assert held is None or "memory" in str(refused)
        return False
    assert held is not None
    assert found.to_bytes() == data
    assert type(found).__name__ == held.metric
    check_parts(found, held)
    more = [found.calibration] if found.options.get("calibration") else []
    for use in (found.summary, lambda: found + found, *more):
        with suppress(ce.InputError):  # more was subtracted than added, or integers exceed their range
            use()
    if b'"samples":null' in data or b'"samples":' not in data:  # windows of samples cannot be added
        assert found - found == found.copy().reset()
    return True


def check_parts(found, held):
    """Check that a metric holds the integers that the independent reader returns."""
    if held.metric == "Grouped":
        check_groups(found, held)
    for name, part in held.parts.items():
        if held.metric == "Collection":
            check_parts(found._state.metrics[sorted(found)[int(name)]], part)
            continue
        if isinstance(part, state_reader.Rows):
            check_rows(found, part)
            continue
        if isinstance(part, (state_reader.Groups, state_reader.States)):
            check_table(found, found._state._panes if held.newest is not None else found._state, part)
            continue
        if isinstance(part, list):
            check_last_states(found, part)
            continue
        state, _, ledger = name.rpartition(".")
        ours = getattr(found._state[state] if state else found._state, ledger)
        assert ours.size == part.size
        for cell, columns in part.cells.items():
            assert {column: ours.integer(column, cell) for column in columns} == columns


def check_rows(found, part):
    """Check that the window is the sum of the rows that the independent reader returns."""
    expected = dict.fromkeys(state_reader.COLUMNS, 0)
    for columns in part.cells.values():
        for name, value in columns.items():
            expected[name] += value
    assert found._state.sum().cell() == {name: value for name, value in expected.items() if value}
    assert found._state.size == part.size


def check_table(found, table, part):
    """Check that a table has the kinds and states that the independent reader returns."""
    for ours, kind in zip(table.kinds, part.kinds, strict=True):
        assert kind == NONE or ours == KINDS[kind]
    for one, columns in getattr(part, "cells", {}).items():
        state = table.state(b"".join(map(key, part.kinds, one)))
        assert state.total.cell() == columns
        assert found._metric_of(state)._state.parts().keys() == {"total"}
    for one, state in getattr(part, "states", {}).items():
        check_parts(found._metric_of(table.state(b"".join(map(key, part.kinds, one)))), state)


def check_last_states(found, part):
    """Check that a window of samples has the states that the independent reader returns."""
    window = found._state
    assert len(part) == window.size
    for row, state in zip(window._rows, part, strict=True):
        check_parts(found._metric_of(window._state_of(row)), state)


def check_groups(found, held):
    """Check that groups have the keys, in order, that the independent reader returns."""
    expected = [
        tuple(
            state_reader.moment(value).replace(tzinfo=None) if kind == DATETIME and value is not None else value
            for kind, value in zip(part.kinds, one, strict=True)
        )
        for part in held.parts.values()
        for one in (part.cells if isinstance(part, state_reader.Groups) else part.states)
    ]
    expected.sort(
        key=lambda one: [(of is not None, of) for of in one]
    )  # not by bytes, because those of text begin with its length
    keys = [one if isinstance(one, tuple) else (one,) for one in found]
    assert keys == expected
    assert [list(map(type, one)) for one in keys] == [list(map(type, one)) for one in expected]
    for use in (found.micro, found.macro, found.compute, found.to_table):
        with suppress(ce.InputError):
            use()


def check_checkpoint(data):
    """Return whether ``data`` is a checkpoint. Check that streamce and the independent reader agree on it."""
    try:
        held = state_reader.read_checkpoint(data)
    except state_reader.Malformed:
        held = None
    refused = None
    try:
        positions, state = ce.persistence.checkpoint.decode(data)
        metric = ce.from_bytes(state)
    except ce.InputError as error:
        refused = error
    if refused is not None:
        assert refused.argument in ("path", "state")
        assert held is None or "memory" in str(refused)
        return False
    assert held is not None
    assert json.dumps(positions) == json.dumps(held[0])
    assert ce.persistence.checkpoint.encode(positions, metric.to_bytes()) == data
    return check(state)


# ---- changed bytes ----


def mutated(raw, below):
    """Return a body with one or a few changes: of bytes, with correct lengths, or with correct records."""
    for _ in range(1 + below(3)):
        raw = (any_bytes, a_number, a_piece, a_cell)[below(4)](raw, below)
    return raw


def any_bytes(raw, below):
    """Change a bit or byte; remove, repeat or move a slice, or take it from another state."""
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
    """Change a number of the format, or bytes that could be one."""
    fields = []
    with suppress(state_reader.Malformed):
        state_reader.read_body(raw, fields)
    if fields and below(4):
        at, width, order = fields[below(len(fields))]
    else:
        at, width, order = below(len(raw) + 1), 1 << below(4), "little"
    number = int.from_bytes(raw[at : at + width], order)
    number = (number + 1, number - 1, number * 2, -number, EDGES[below(len(EDGES))])[below(5)]
    some = u(width, number) if order == "little" else u(width, number)[::-1]
    return raw[:at] + some + raw[at + width :]


def split(raw):
    """Return (version, header, [(name, payload)]) of a body, or None if it has none."""
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
    """Change a header, or a name or payload of a part, with correct lengths; or the order of parts."""
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
    """Change, remove, repeat or move a cell of a ledger or a group, with correct counts and lengths."""
    pieces = split(raw)
    if pieces is None or not pieces[2]:
        return raw
    version, header, parts = pieces
    at = below(len(parts))
    name, payload = parts[at]
    if name == b"groups":
        parts[at] = (name, a_group(payload, below))
        return body(header, *parts, version=version)
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
    """Return [(number, record)] of bytes that may be a ledger."""
    cells, at = [], 16
    while at + 12 <= len(payload):
        start, bits = at + 8, int.from_bytes(payload[at + 8 : at + 12], "little")
        number, at = int.from_bytes(payload[at : at + 8], "little"), at + 12
        for _ in range(bits.bit_count()):
            if at + 1 < len(payload):
                at += 2 + 8 * payload[at + 1]
        cells.append((number, payload[start:at]))
    return cells


def a_group(payload, below):
    """Change a group, its key or the kinds."""
    kinds, some = groups_of(payload)
    if not kinds or not some:
        return payload
    i, what = below(len(some)), below(8)
    one, words = some[i]
    if what == 0:
        some[i] = (one, any_bytes(words, below))
    elif what == 1:
        some[i] = (any_bytes(one, below), words)
    elif what == 2:
        some[i] = (one, some_record(below))
    elif what == 3:
        some[i] = (b"".join(some_part(kind, below) for kind in kinds), words)
    elif what == 4:
        del some[i]
    elif what == 5:
        some.append((b"".join(some_part(kind, below) for kind in kinds), some_record(below)))
    elif what == 6:
        part = below(len(kinds))
        kinds = [*kinds[:part], below(7), *kinds[part + 1 :]]
    else:
        some.insert(below(len(some) + 1), some.pop(i) if below(2) else some[i])
    return groups(kinds, *(sorted(dict(some).items()) if below(4) else some))


def groups_of(payload):
    """Return (kinds, [(key, record)]) of bytes that may be groups."""
    reader, some = state_reader.Reader(payload, None), []
    kinds = []
    with suppress(state_reader.Malformed):
        kinds = [reader.number(1) for _ in range(reader.number(1))]
        reader.number(8)
        while True:
            start = reader.at
            for kind in kinds:
                reader.key(kind)
            middle = reader.at
            reader.record()
            some.append((payload[start:middle], payload[middle : reader.at]))
    return kinds, some


def mutated_checkpoint(raw, below):
    """Return a body of a checkpoint with changes anywhere, or in one piece with correct lengths and checksum."""
    for _ in range(1 + below(2)):
        what, pieces = below(4), split_checkpoint(raw)
        if what == 0 or pieces is None:
            raw = any_bytes(raw, below)
            continue
        version, positions, state = pieces
        if what == 1:
            positions = any_bytes(positions, below) if below(2) else some_json(below)
        elif what == 2:
            state = sealed(mutated(state[:-16], below))
        else:
            version = below(3)
            state = any_bytes(state, below) if below(4) == 0 else state
        raw = checkpoint(positions, state, version)
    return raw


def split_checkpoint(raw):
    """Return (version, positions, state) of a body, or None if it has none."""
    at = 14 + int.from_bytes(raw[10:14], "little")
    if len(raw) < at + 8:
        return None
    return int.from_bytes(raw[8:10], "little"), raw[14:at], raw[at + 8 :]


# ---- bytes from a grammar ----

HEADERS = sorted({split(seed)[1] for seed in SEEDS})


def some_body(below):
    """Return a body of pieces that are mostly correct."""
    names = [b"total", b"cells", b"buckets", b"groups", b"rows", b"newest", b"", b"tota", b"\xff" * 255]
    chosen = [names[below(3 if below(8) else len(names))] for _ in range(below(4))]
    if below(8):
        chosen = sorted(set(chosen))
    header = HEADERS[below(len(HEADERS))]
    wrapper = json.loads(header)
    if wrapper["metric"] in state_reader.WRAPPERS and below(8):
        chosen = [b"groups"]
    if wrapper["metric"] == "Sliding" and below(8):
        return body(header, *some_window(below, **wrapper["options"]))
    if wrapper["metric"] == "Decayed" and below(8):
        return body(header, (b"groups", some_moments(below, INT, 20_000, 1, 9)))
    parts = ((name, some_groups(below) if name == b"groups" else some_ledger(name, below)) for name in chosen)
    return body(header, *parts, version=1 if below(32) else below(4))


def some_window(below, period, samples, step, **others):
    """Return the parts of a window."""
    if samples is not None:
        return [(b"rows", some_rows(min(samples, 5), below))]
    at = 1_000_000_800_000_000  # a Monday in an even week
    newest = at // step * step if step % 604_800_000_000 else at
    newest += below(2) if below(16) == 0 else 0
    panes = some_moments(below, DATETIME, newest, step, period // step + (below(16) == 0))
    return [(b"groups", panes), (b"newest", (newest + 2**63).to_bytes(8, "big"))][: 2 if below(16) else 1]


def some_moments(below, kind, newest, step, many):
    """Return groups by timestamps or numbers, up to the newest."""
    chosen = sorted({below(many) for _ in range(1 + below(4))}, reverse=True)
    return groups([kind], *((key(INT, newest - step * one), some_record(below)) for one in chosen))


DOUBLES = (
    0,
    1 << 63,
    1,
    0x3FF << 52,
    0xBFF << 52,
    0x7FE << 52,
    0x7FF << 52,
    0xFFF << 52,
    0x7FF8 << 48,
    0x7FF << 52 | 1,
)


def some_rows(most, below):
    raw, size = b"", 1 + below(most)
    for _ in range(size):
        n, d = (DOUBLES[below(len(DOUBLES) if below(32) == 0 else 7)] for _ in range(2))
        many = below(3) if below(32) else EDGES[below(len(EDGES))]
        raw += u(8, n if many else 0) + u(8, d * (d >> 63 == 0 and many > 0)) + u(8, many)
    odd = sorted({(below(size), 17 + below(11)) for _ in range(below(4))})
    if below(16) == 0:
        odd = [*odd[::-1], (below(7), below(30))]
    tail = b"".join(u(8, row) + u(1, column) + u(8, 1 + below(3)) for row, column in odd)
    raw = u(8, size) + raw + u(8, len(odd)) + tail
    return raw if below(16) else raw[: below(len(raw))]


def some_ledger(name, below):
    size = {b"total": 1, b"buckets": 256}.get(name, (1, 3, 64, 65, 300, 2**24)[below(6)])
    if below(16) == 0:
        size = EDGES[below(len(EDGES))]
    numbers = [below(size or 1) if below(32) else EDGES[below(len(EDGES))] for _ in range(1 + below(4))]
    if below(8):
        numbers = sorted(set(numbers))
    count = EDGES[below(len(EDGES))] if below(32) == 0 else None
    return ledger(size, *((number, some_record(below)) for number in numbers), count=count)


def some_groups(below):
    kinds = [below(6) if below(64) else 6 + below(250) for _ in range((1, 1, 2, 3, 255)[below(5)])]
    some = [([some_part(kind, below) for kind in kinds], some_record(below)) for _ in range(1 + below(6))]
    if below(8):  # keys that are always null have no kind
        kinds = [NONE if all(one[i] == key(NONE, None) for one, _ in some) else kind for i, kind in enumerate(kinds)]
    some = [(b"".join(one), words) for one, words in some]
    if below(8):
        some = sorted(dict(some).items())
    return groups(kinds, *some, count=EDGES[below(len(EDGES))] if below(32) == 0 else None)


TEXTS = ("", "a", "b", "aa", "é", "\U0010ffff", "\ud7ff", "\0", "x" * 300)


def some_part(kind, below):
    if kind == NONE or below(6) == 0:
        return key(kind, None)
    if below(64) == 0:
        return bytes(below(256) for _ in range(below(12)))
    if kind in (STR, BYTES):
        raw = TEXTS[below(len(TEXTS))].encode() if below(16) else bytes(below(256) for _ in range(below(5)))
        return key(BYTES, raw)
    if kind == BOOL:
        return key(INT, below(2 if below(32) else 4))
    around = (0, -(2**63) + 5, 2**63 - 5, state_reader.FIRST, state_reader.LAST)
    at = (0, 0, 3, 4)[below(4)] if kind == DATETIME and below(8) else below(len(around))
    number = around[at] + below(5) * (-1 if at == 4 and below(4) else 1)
    return key(INT, number if number < 2**63 else 0)


def some_json(below, depth=0):
    """Return a JSON value, mostly in the canonical form."""
    what = below(7) if depth < 3 else below(5)
    if what == 0:
        return (b"null", b"true", b"false", b"NaN", b"-Infinity", b"nul", b"")[below(4 if below(8) else 7)]
    if what in (1, 2):
        number = EDGES[below(len(EDGES))] * (-1) ** below(2)
        number = number if below(2) else (number / 7, number * 1e300, 1e16, -0.0, 1e-7)[below(5)]
        return (json.dumps(number) if below(16) else f"{number:+}").encode()
    if what in (3, 4):
        return json.dumps(TEXTS[below(len(TEXTS))] + chr(below(300)), ensure_ascii=below(16) > 0).encode()
    some = [some_json(below, depth + 1) for _ in range(below(4))]
    comma, colon = (b",", b":") if below(16) else ((b", ", b":"), (b",", b": "))[below(2)]
    if what == 5:
        return b"[" + comma.join(some) + b"]"
    names = [json.dumps(TEXTS[below(len(TEXTS))] + str(below(3))).encode() for _ in some]
    if below(8):
        names = sorted(set(names), key=json.loads)
    return b"{" + comma.join(name + colon + one for name, one in zip(names, some, strict=False)) + b"}"


def some_checkpoint(below):
    """Return a body of a checkpoint of pieces that are mostly correct."""
    state = SEEDS[below(len(SEEDS))] if below(4) else some_body(below)
    return checkpoint(some_json(below), sealed(state), 1 if below(32) else below(4))


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
