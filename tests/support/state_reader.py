"""A reader of states and checkpoints, written only from docs/FORMAT.md. It is strict, simple and slow."""

import hashlib
import json
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction

SUMS = ("n", "nn", "d", "nd", "dd")
COLUMNS = (
    *SUMS,
    *("n+inf", "n-inf", "nn+inf", "nn-inf", "d+inf", "d-inf", "nd+inf", "nd-inf", "dd+inf", "dd-inf"),
    *("samples", "count", "ignored", "floored", "infinite", "unnormalised"),
    *("invalid_nan", "invalid_range", "invalid_row_sum", "invalid_label", "invalid_weight", "invalid_null"),
    "infeasible",
)
SEQUENCE = {"class_weight", "eps", "ignore_index", "kind", "label_smoothing", "per", "per_position"}
BINARY = {"class_weight", "eps", "ignore_index", "kind", "label_smoothing", "pos_weight"}
OPTIONS = {
    "BinaryCrossEntropy": BINARY,
    "MulticlassCrossEntropy": BINARY - {"pos_weight"} | {"per_class"},
    "MultilabelCrossEntropy": BINARY | {"per_label"},
    "MeanLoss": set(),
    "CTCCrossEntropy": {"blank", "kind", "per"},
    "Grouped": {"metric", "period"},
    "Collection": {"metrics"},
    "Decayed": {"half_life", "metric"},
    "Sliding": {"metric", "period", "samples", "step"},
    "GANCrossEntropy": {"eps", "kind"},
    "MulticlassNormalizedEntropy": {"eps", "ignore_index", "kind"},
    "NormalizedEntropy": {"eps", "kind"},
    "Paired": {"metric"},
    "Perplexity": SEQUENCE,
    "SequenceCrossEntropy": SEQUENCE,
}
UNITS = {"CTCCrossEntropy": ("label", "frame", "utterance")}
# The names of the states in metrics that hold several.
STATES = {
    "GANCrossEntropy": ("fake", "generator", "real"),
    "NormalizedEntropy": ("both", "loss", "outcome"),
    "Paired": ("a", "a_better", "b", "b_better", "difference"),
}
PAIRS_OF_OUTCOMES = (*STATES["Paired"], "a_both", "b_both", "difference_both", "outcome")
# Wrappers that keep states of a metric by key.
WRAPPERS = ("Decayed", "Grouped", "Sliding")
# From the inside out: a wrapper holds metrics of lower layers.
LAYERS = {"Paired": 1, "Sliding": 2, "Decayed": 2, "Collection": 3, "Grouped": 4}
BREAKDOWNS = ("calibration", "divergence", "per_class", "per_label", "per_position", "tail")
# Metrics of one state.
OF_SAMPLES = (
    *("BinaryCrossEntropy", "MulticlassCrossEntropy", "MultilabelCrossEntropy", "MeanLoss"),
    *("CTCCrossEntropy", "Perplexity", "SequenceCrossEntropy"),
)
VALUES = {
    "blank": lambda value: type(value) is int and 0 <= value < 2**31,
    "calibration": lambda value: value is True,
    "class_weight": lambda value: value is None or is_weights(value),
    "classes": lambda value: is_names(value),
    "divergence": lambda value: value is True,
    "eps": lambda value: is_weight(value) and value < 1,
    "half_life": lambda value: is_length(value),
    "ignore_index": lambda value: value is None or (type(value) is int and -(2**63) <= value < 2**63 - 1),
    "kind": lambda value: value in ("probs", "log_probs", "logits"),
    "label_smoothing": lambda value: is_weight(value) and value <= 1,
    "metric": lambda value: check(value) or True,
    "metrics": lambda value: check_collected(value) or True,
    "per": lambda value: value in ("label", "frame", "utterance", "token", "sequence"),
    "per_class": lambda value: type(value) is bool,
    "per_label": lambda value: type(value) is bool,
    "per_position": lambda value: type(value) is bool,
    "period": lambda value: value is None or is_length(value),
    "pos_weight": lambda value: value is None or is_weight(value) or is_weights(value),
    "samples": lambda value: value is None or (type(value) is int and 1 <= value <= 2**40),
    "step": lambda value: value is None or is_length(value),
    "tail": lambda value: value is True,
}
NONE, INT, STR, BYTES, DATETIME, BOOL = 0, 1, 2, 3, 4, 5
# Microseconds since 1970 of the first and the last of the years 1 to 9999.
FIRST, LAST = -62_135_596_800_000_000, 253_402_300_799_999_999


class Malformed(Exception):
    """Bytes that no writer wrote."""


def require(condition, what):
    if not condition:
        raise Malformed(what)


@dataclass
class State:
    """The content of bytes, without integers that are 0."""

    metric: str
    options: dict
    parts: dict  # a Ledger, Groups, Rows, States or list of State by name
    newest: int | None = None  # the pane of a window of time


@dataclass
class Ledger:
    size: int
    cells: dict  # {column: integer} by number


@dataclass
class Groups:
    kinds: list
    cells: dict  # {column: integer} by key, a tuple


@dataclass
class States:
    kinds: list
    states: dict  # State by key, a tuple


@dataclass
class Rows:
    size: int
    cells: dict  # {column: integer} of each row by number, without rows that add nothing


def read(data):
    """Return the state in ``data``, or raise Malformed."""
    require(len(data) >= 8 + 2 + 4 + 16, "cut short")
    body, checksum = data[:-16], data[-16:]
    require(hashlib.sha256(body).digest()[:16] == checksum, "checksum")
    return read_body(body)


def read_body(body, fields=None):
    """Return the state in bytes without checksum. Add (offset, width, order) of each number to ``fields``."""
    reader = Reader(body, fields)
    require(reader.take(8) == b"streamce", "magic")
    require(reader.number(2) == 1, "version")
    header = header_of(reader.take(reader.number(4)))
    return read_parts(reader, len(body), header)


def read_parts(reader, end_of_all, header):
    """Return the state of a header and the parts that follow it."""
    parts, names, newest = {}, [], None
    while reader.at < end_of_all:
        name = reader.take(reader.number(1))
        names.append(name)
        size = reader.number(8)
        end = reader.at + size
        require(end <= end_of_all, "a part is cut short")
        require(name.decode("ascii", "replace") in parts_of(header), "part")
        if header["metric"] == "Collection":
            metrics = header["options"]["metrics"]
            parts[name.decode()] = read_parts(reader, end, metrics[sorted(metrics)[int(name)]])
        elif name == b"newest":
            newest = reader.number(8, "big") - 2**63
        elif name == b"groups":
            parts["groups"] = reader.groups()
        elif name == b"states" and header["options"].get("samples") is not None:
            parts["states"] = reader.last_states(header["options"], end)
        elif name == b"states":
            parts["states"] = reader.states(header["options"]["metric"])
        elif name == b"rows":
            parts["rows"] = reader.rows(header["options"]["samples"])
        else:
            parts[name.decode()] = reader.ledger()
        require(reader.at == end, "length of a part")
    require(names == sorted(set(names)), "order of parts")
    if header["metric"] == "Collection":
        require(all(part.parts for part in parts.values()), "a metric without parts")
        return State(header["metric"], header["options"], parts)
    if header["metric"] in WRAPPERS:
        check_keyed(header, parts, newest)
        return State(header["metric"], header["options"], parts, newest)
    if header["metric"] == "Paired":
        check_pairs(header["options"]["metric"], parts)
    else:
        check_sums(header, parts)
    return State(header["metric"], header["options"], parts, newest)


def check_pairs(header, parts):
    """Check the states of a comparison, each as that of a metric."""
    by_state = {}
    for name, part in parts.items():
        state, _, own = name.partition(".")
        by_state.setdefault(state, {})[own] = part
    more = dict.fromkeys(("calibration", "divergence", "tail"), False)
    for state, own in by_state.items():
        if header["metric"] == "NormalizedEntropy" or state.endswith("_better"):
            check_sums({"metric": "MeanLoss", "options": {}}, own)
        elif state == "difference":
            options = {name: value for name, value in header["options"].items() if name not in more}
            check_sums({"metric": header["metric"], "options": options}, own)
        else:
            check_sums(header, own)


def check_sums(header, parts):
    """Check the parts of a metric that wraps no other."""
    ratios = 3 if OPTIONS[header["metric"]] is SEQUENCE else 2 if "divergence" in header["options"] else 1
    for name, part in parts.items():
        last = max(part.cells) if isinstance(part, Ledger) else 0
        if name.endswith("total"):
            require(part.size == last + 1 <= ratios, "cells of the total")
        elif name.endswith("buckets"):
            require(part.size == 256 * (last // 256 + 1) <= 256 * ratios, "cells of buckets")
    if "tail" in parts:
        require("tail" in header["options"], "a tail unasked for")
        require(parts["tail"].size == 8194, "bins of the tail")
    if "calibration" in parts:
        part = parts["calibration"]
        require("calibration" in header["options"], "calibration unasked for")
        most = 33 + 15 * (100**2 if header["metric"] == "MulticlassCrossEntropy" else 1)
        require(part.size == max(part.cells) + 1 <= most, "cells of calibration")
    require(set(parts) <= parts_of(header), "parts of a state")
    if "cells" in parts and ratios == 3:
        require(header["options"]["per_position"], "cells unasked for")
        require(parts["cells"].size == max(parts["cells"].cells) + 1, "positions")
    elif "cells" in parts:
        options = header["options"]
        asked = options.get("per_class") is True or options.get("per_label") is True
        require(asked or header["metric"] == "MulticlassNormalizedEntropy", "cells unasked for")
        require(parts["cells"].size > 1 or not header["metric"].startswith("Multiclass"), "a single class")
        for name in ("class_weight", "classes", "pos_weight"):
            weights = options.get(name)
            require(not isinstance(weights, list) or len(weights) == parts["cells"].size, "a weight per cell")


def check_keyed(header, parts, newest):
    """Check the states of a wrapper by their keys."""
    metric, options = header["metric"], header["options"]
    if metric == "Sliding" and options["samples"] is not None:
        require(len(parts) < 2, "two kinds of rows")
        require("rows" not in parts or only_mean(options["metric"]), "rows of a metric with more sums")
        return
    require("groups" not in parts or has_cell(options["metric"]), "cells of a metric without one")
    keys = [
        *(parts["groups"].cells if "groups" in parts else ()),
        *(parts["states"].states if "states" in parts else ()),
    ]
    require(len(set(map(repr, keys))) == len(keys), "a key of two states")
    kinds = [part.kinds for name, part in parts.items()]
    require(len(set(map(len, kinds))) < 2, "keys of different lengths")
    for each in zip(*kinds, strict=True):
        require(len(set(each) - {NONE}) < 2, "keys of different kinds")
    if metric == "Sliding":
        require(bool(keys) == (newest is not None), "panes and the newest of them")
    if newest is not None:
        check_panes(kinds, [start for (start,) in keys], newest, **options)
    if metric == "Decayed" and keys:
        require(all(each == [INT] for each in kinds), "half-lives")
        numbers = [number for (number,) in keys]
        require(None not in numbers, "a half-life that is null")
        half_life = options["half_life"]
        require(FIRST // half_life <= min(numbers) and max(numbers) <= LAST // half_life, "years of half-lives")


def only_mean(header):
    """Return whether the samples of a metric may have a mean and no other sum."""
    options = header["options"]
    return header["metric"] in OF_SAMPLES and not any(options.get(name) for name in BREAKDOWNS)


def has_cell(header):
    return header["metric"] in (*OF_SAMPLES, "MulticlassNormalizedEntropy")


def is_cell(header, state):
    """Return whether a state has a mean and no other sum."""
    return has_cell(header) and set(state.parts) == {"total"} and state.parts["total"].size == 1


def check_panes(kinds, starts, newest, period, step, **others):
    require(all(each == [DATETIME] for each in kinds), "moments of panes")
    require(None not in starts, "a pane that is null")
    for start in (newest, *starts):
        monday = -3 * 86_400_000_000 if step % (7 * 86_400_000_000) == 0 else 0
        require(start == FIRST or (start - monday) % step == 0, "the beginning of a pane")
        require(newest - period < start <= newest, "a pane out of the window")
    require(FIRST <= newest <= LAST, "year of the newest pane")


def parts_of(header):
    """Return the names that parts may have."""
    metric = header["metric"]
    if metric == "Collection":
        return set(map(str, range(len(header["options"]["metrics"]))))
    if metric == "Sliding":
        if header["options"]["samples"] is not None:
            return {"rows", "states"}
        return {"groups", "newest", "states"}
    if metric in WRAPPERS:
        return {"groups", "states"}
    if metric == "Paired":
        inner = header["options"]["metric"]
        if inner["metric"] == "NormalizedEntropy":
            return {f"{state}.{part}" for state in PAIRS_OF_OUTCOMES for part in ("buckets", "total")}
        return {f"{state}.{part}" for state in STATES[metric] for part in parts_of(inner)}
    if metric in STATES:
        return {f"{state}.{part}" for state in STATES[metric] for part in ("buckets", "total")}
    if metric == "MulticlassNormalizedEntropy":
        return {"cells", "total"}
    return {"buckets", "calibration", "cells", "tail", "total"}


def header_of(text):
    header = json_of(text)
    check(header)
    layer(header)
    return header


def json_of(text):
    try:
        value = json.loads(text.decode("ascii"))
        again = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise Malformed("JSON") from None
    require(again == text, "form of JSON")
    return value


def check(header):
    require(isinstance(header, dict) and set(header) == {"metric", "options"}, "keys of the header")
    metric, options = header["metric"], header["options"]
    require(isinstance(metric, str) and metric in OPTIONS, "metric")
    require(isinstance(options, dict), "options")
    absent = {"eps"} if options.get("kind") == "logits" else set()
    divided = {"divergence"} if OPTIONS[metric] >= {"label_smoothing", "kind"} and "per" not in options else set()
    if "kind" in options and metric not in STATES:
        divided.add("tail")
    if metric in ("BinaryCrossEntropy", "MulticlassCrossEntropy"):
        divided.add("calibration")
    if metric == "MulticlassCrossEntropy":
        divided.add("classes")
    require(set(options) - divided == OPTIONS[metric] - absent, "names of options")
    require("divergence" not in options or options["label_smoothing"] == 0, "divergence of smoothed targets")
    if options.get("classes") and options["class_weight"] is not None:
        require(len(options["classes"]) == len(options["class_weight"]), "a weight of each class")
    if "calibration" in options:
        plain = options["label_smoothing"] == 0 and options["class_weight"] is options.get("pos_weight") is None
        require(plain, "calibration of losses that are not plain")
    for name, value in options.items():
        require(VALUES[name](value), f"value of {name}")
    if "per" in options:
        require(options["per"] in UNITS.get(metric, ("token", "sequence")), "value of per")
    if metric == "Sliding":
        period, samples, step = options["period"], options["samples"], options["step"]
        require((samples is None) == (period is not None) == (step is not None), "one kind of window")
        require(period is None or period % step == 0, "a step that divides the period")
    if metric == "BinaryCrossEntropy":
        require(options["class_weight"] is None or len(options["class_weight"]) == 2, "two class weights")
        require(not isinstance(options["pos_weight"], list), "one pos_weight")
    if options.get("class_weight") and options.get("pos_weight") is not None:
        pos = options["pos_weight"] if isinstance(options["pos_weight"], list) else [options["pos_weight"]]
        require(max(options["class_weight"]) * max(pos) < float("inf"), "product of weights")


def is_names(value):
    strings = isinstance(value, list) and all(isinstance(each, str) for each in value)
    return strings and len(set(value)) == len(value) >= 2


def layer(header):
    """Return the layer of a metric. Check that it is higher than those of the metrics that it holds."""
    metric, options = header["metric"], header["options"]
    own = LAYERS.get(metric, 0)
    if metric == "Collection":
        return max([own, *map(layer, options["metrics"].values())])
    if own:
        require(layer(options["metric"]) < own, "an order of wrappers")
        require(is_addable(options["metric"]), "a wrapper of a window of samples")
    if metric == "Paired":
        require(options["metric"]["metric"] != "GANCrossEntropy", "a pair without two predictions of one target")
    if metric == "Decayed":
        require(not keeps_tail(options["metric"]), "a tail that decays")
    return own


def keeps_tail(header):
    options = header["options"]
    return "tail" in options or ("metric" in options and keeps_tail(options["metric"]))


def is_addable(header):
    metrics = header["options"].get("metrics", {})
    return header["options"].get("samples") is None and all(map(is_addable, metrics.values()))


def check_collected(headers):
    require(isinstance(headers, dict) and len(headers) > 0, "metrics by name")
    for header in headers.values():
        check(header)
        require(header["metric"] not in ("Collection", "GANCrossEntropy", "Paired"), "a metric of a collection")


def is_length(value):
    """Return whether a value is a length of time in microseconds."""
    return type(value) is int and 1 <= value <= LAST


def is_weight(value):
    return type(value) is float and 0 <= value < float("inf") and repr(value) != "-0.0"


def is_weights(value):
    return type(value) is list and len(value) > 0 and all(map(is_weight, value))


class Reader:
    def __init__(self, data, fields):
        self.data, self.at, self.fields = data, 0, fields

    def take(self, n):
        require(n <= len(self.data) - self.at, "cut short")
        self.at += n
        return self.data[self.at - n : self.at]

    def number(self, width, order="little"):
        if self.fields is not None:
            self.fields.append((self.at, width, order))
        return int.from_bytes(self.take(width), order)

    def ledger(self):
        size, count = self.number(8), self.number(8)
        require(0 < size <= 2**24, "cells of a ledger")
        require(count > 0, "a ledger that is 0")
        cells, last = {}, -1
        for _ in range(count):  # reading beyond the bytes raises
            number = self.number(8)
            require(last < number < size, "number of a cell")
            cells[number] = self.record()
            last = number
        return Ledger(size, cells)

    def record(self):
        bits = self.number(4)
        require(bits != 0, "a cell that is 0")
        require(bits >> len(COLUMNS) == 0, "columns")
        return {name: self.integer(name in SUMS) for i, name in enumerate(COLUMNS) if bits >> i & 1}

    def integer(self, is_sum):
        first, width = self.number(1), self.number(1)
        require(width > 0, "no words")
        words = [self.number(8) for _ in range(width)]
        require(words[0] != 0, "first word 0")
        number = sum(word << 64 * i for i, word in enumerate(words))
        if words[-1] >> 63:
            number -= 1 << 64 * width
        # One word less would hold integers from -2^(64 w - 65) to 2^(64 w - 65) - 1.
        require(width == 1 or not -(2 ** (64 * width - 65)) <= number < 2 ** (64 * width - 65), "a word too many")
        if is_sum:
            number <<= 64 * first
            require(-(2**16318) <= number < 2**16318, "range of a sum")
        else:
            require(first == 0 and width == 1, "words of a counter")
            require(-(2**62) <= number <= 2**62, "range of a counter")
        return number

    # ---- groups ----

    def groups(self):
        kinds = [self.number(1) for _ in range(self.number(1))]
        require(kinds and set(kinds) <= {NONE, INT, STR, BYTES, DATETIME, BOOL}, "kinds of keys")
        count, groups, last = self.number(8), {}, b""
        require(count > 0, "no groups")
        for _ in range(count):
            start = self.at
            key = tuple(self.key(kind) for kind in kinds)
            raw = self.data[start : self.at]
            require(last < raw, "order of groups")
            groups[key] = self.record()
            last = raw
        for kind, parts in zip(kinds, zip(*groups, strict=True), strict=True):
            require((kind == NONE) == all(part is None for part in parts), "kind of a part")
        return Groups(kinds, groups)

    def key(self, kind):
        present = self.number(1)
        require(present in (0, 1), "presence of a key")
        if not present:
            return None
        require(kind != NONE, "a part of no kind")
        if kind in (STR, BYTES):
            raw = self.take(self.number(4, "big"))
            try:
                return raw if kind == BYTES else raw.decode()
            except UnicodeDecodeError:
                raise Malformed("text of a key") from None
        number = self.number(8, "big") - 2**63
        if kind == BOOL:
            require(number in (0, 1), "truth of a key")
            return bool(number)
        if kind == DATETIME:
            require(FIRST <= number <= LAST, "year of a key")
        return number

    def states(self, header):
        """Return the states of a metric by key."""
        kinds = [self.number(1) for _ in range(self.number(1))]
        require(kinds and set(kinds) <= {NONE, INT, STR, BYTES, DATETIME, BOOL}, "kinds of keys")
        count, states, last = self.number(8), {}, b""
        require(count > 0, "no states")
        for _ in range(count):
            start = self.at
            key = tuple(self.key(kind) for kind in kinds)
            raw = self.data[start : self.at]
            require(last < raw, "order of states")
            size = self.number(8)
            states[key] = read_parts(self, self.at + size, header)
            require(self.at <= len(self.data) and states[key].parts, "a state that is 0")
            require(not is_cell(header, states[key]), "a state that is a cell")
            last = raw
        for kind, parts in zip(kinds, zip(*states, strict=True), strict=True):
            require((kind == NONE) == all(part is None for part in parts), "kind of a part")
        return States(kinds, states)

    def last_states(self, options, end):
        """Return the states of the last samples."""
        count = self.number(8)
        require(0 < count <= options["samples"], "number of rows")
        states = []
        for _ in range(count):
            require(self.at < end, "rows are cut short")
            size = self.number(8)
            require(self.at + size <= end, "a row is cut short")
            states.append(read_parts(self, self.at + size, options["metric"]))
        return states

    # ---- rows ----

    def rows(self, most):
        size = self.number(8)
        require(0 < size <= most, "number of rows")
        rows = []
        for _ in range(size):
            n, d, count = self.double(), self.double(), self.number(8)
            require(d >= 0, "weight of a row")
            require(count > 0 or n == d == 0, "a row without losses")
            rows.append((n, d, count, {}))
        require(sum(count for _, _, count, _ in rows) <= 2**62, "range of a counter")
        last, totals = (-1, ""), dict.fromkeys(COLUMNS, 0)
        for _ in range(self.number(8)):
            row, column, many = self.number(8), self.number(1), self.number(8)
            require(row < size and 17 <= column < 28 and many > 0, "an oddity")
            require(last < (row, column), "order of oddities")
            last = row, column
            rows[row][-1][COLUMNS[column]] = many
            totals[COLUMNS[column]] += many
            require(totals[COLUMNS[column]] <= 2**62, "range of a counter")
        cells = {i: cell_of(*row) for i, row in enumerate(rows)}
        return Rows(size, {i: cell for i, cell in cells.items() if cell})

    def double(self):
        raw = self.number(8)
        value = struct.unpack("<d", raw.to_bytes(8, "little"))[0]
        require(value == value or raw == 0x7FF8_0000_0000_0000, "form of nan")
        require(raw != 1 << 63, "-0.0")
        return value


def cell_of(n, d, count, odd):
    """Return the integers that a sample adds."""
    cell = dict.fromkeys(COLUMNS, 0) | odd
    if count:
        cell["count"], cell["samples"] = count, 1
        both = n * d if n and d else 0.0
        for column, plus, minus in (("n", n, 0), ("nn", n * n, 0), ("d", d, 1), ("nd", both, n), ("dd", d * d, 1)):
            for term, sign in ((plus, 1), (minus, -1)):
                if term != term or abs(term) == float("inf"):
                    cell[column + "+inf"] += sign * (not term < 0)
                    cell[column + "-inf"] += sign * (not term > 0)
                else:
                    cell[column] += sign * int(Fraction(term) * 2**1074)
    return {column: number for column, number in cell.items() if number}


# ---- checkpoints ----


def read_checkpoint(data):
    """Return the positions and the State in the bytes of a checkpoint file, or raise Malformed."""
    require(len(data) >= 8 + 2 + 4 + 8 + 16, "cut short")
    body, checksum = data[:-16], data[-16:]
    require(hashlib.sha256(body).digest()[:16] == checksum, "checksum")
    reader = Reader(body, None)
    require(reader.take(8) == b"streamck", "magic")
    require(reader.number(2) == 1, "version")
    positions = json_of(reader.take(reader.number(4)))
    state = reader.take(reader.number(8))
    require(reader.at == len(body), "more behind the state")
    return positions, read(state)


# ---- values ----


def exact(integer):
    """Return the number that the integer of an exact sum stands for."""
    return Fraction(integer, 2**1074)


def moment(microseconds):
    """Return the datetime that an integer stands for."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


# ---- clusters ----

WORD = 2**64 - 1


def mix64(z):
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & WORD
    z = (z ^ z >> 27) * 0x94D049BB133111EB & WORD
    return z ^ z >> 31


def bucket_of_number(number):
    """Return the bucket of an int, a datetime in microseconds or a bool."""
    return mix64(number & WORD) >> 56


def bucket_of_bytes(key):
    """Return the bucket of any other key, by its bytes."""
    h = len(key)
    for i in range(0, len(key), 8):
        h = mix64(h ^ int.from_bytes(key[i : i + 8], "little"))
    return h >> 56
