"""Turns states into arrays of int64 whose elementwise sum is the array of the merged state.

An array begins with the number of states that were added, and four entries that identify class and options. The digits
of the cells follow, part by part. A sum must hold these entries as many times as states were added, so a state of other
options is noticed after any sum. Multiples of the first of them fit neither into int32 nor into float32, so a sum in
such types is noticed too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from streamce._support import state_format
from streamce._support.short_repr import reason, short_repr
from streamce.core.ledger import digits
from streamce.core.ledger.ledger import Ledger, mixed_clusters
from streamce.core.ledger.state import BUCKETS
from streamce.errors import InputError
from streamce.inputs import arrays, interop

if TYPE_CHECKING:
    from collections.abc import Mapping

    Array = np.ndarray[Any, np.dtype[np.int64]]

MAX_STATES = 2**32 - 1  # the sum of as many digits fits into int64
HALF = 2**31  # a digit of one state is at least -HALF and below HALF
CLUSTERED = ("n", "d", "n+inf", "n-inf", "d+inf", "d-inf", "samples")  # the columns of clusters
EMPTY = Ledger(1).to_bytes()
HEAD = 5  # entries of an array before the first cell


def digest(header: state_format.Header) -> bytes:
    """Return 16 bytes that depend on the class and options of a metric."""
    from hashlib import sha256  # here, because it loads OpenSSL, which is slow

    return sha256(state_format.encode(header, {})).digest()[:16]


def _identifying_entries(digest: bytes) -> Array:
    """Return the entries that identify class and options. The first is odd and at least 2^30."""
    entries = np.frombuffer(digest, dtype="<i4").astype(np.int64)
    entries[0] = entries[0] & 0x7FFFFFFF | 0x40000001
    return entries


def pack(digest: bytes, parts: Mapping[str, bytes], sizes: Mapping[str, int]) -> Array:
    """Return the array of a state. ``sizes`` holds the number of cells of each part."""
    array = np.zeros(HEAD + digits.DIGITS * sum(sizes.values()), dtype=np.int64)
    array[0] = 1
    array[1:HEAD] = _identifying_entries(digest)
    rows, first = array[HEAD:].reshape(-1, digits.DIGITS), 0
    for name, size in sorted(sizes.items()):
        if name in parts:
            write(Ledger.from_bytes(parts[name]), np.arange(size), rows[first : first + size])
        first += size
    return array


def unpack(digest: bytes, source: Any, sizes: Mapping[str, int], quanta: Mapping[str, int]) -> dict[str, bytes]:
    """Return the parts of the state whose array is ``source``, a sum of arrays of ``pack``."""
    array = _checked(source, HEAD + digits.DIGITS * sum(sizes.values()))
    states = int(array[0])
    if not 1 <= states <= MAX_STATES:
        found = f"is {states}: expected the number of added states, 1 to {MAX_STATES}"
        raise InputError("array", found, index=(0,), value=states)
    if not np.array_equal(array[1:HEAD], states * _identifying_entries(digest)):
        found = "holds states of another class or of other options, or was not added as integers of 64 bits"
        raise InputError("array", found, "the elementwise sum of to_limbs() of metrics with equal options")
    check_range(array[HEAD:], states, "array", range(HEAD, len(array)))
    rows, first, parts = array[HEAD:].reshape(-1, digits.DIGITS), 0, {}
    for name, size in sorted(sizes.items()):
        ledger = Ledger(size, False, quanta[name])
        read(ledger, np.arange(size), rows[first : first + size], "array")
        if ledger.used():
            parts[name] = ledger.to_bytes()
        first += size
    return parts


def check_range(amounts: Array, states: Any, argument: str, entries: Any) -> None:
    """Raise InputError if a sum of the digits of this many states is impossible.

    ``states`` is a number, or one for each amount. ``entries`` are the indices of the amounts in the argument.
    """
    most = np.broadcast_to(states, amounts.shape) * HALF
    wrong = (amounts > most) | (amounts < -most)
    if wrong.any():
        at = int(np.argmax(wrong))
        value, number = int(amounts[at]), int(most[at]) // HALF
        expected = f"at most {number} * 2^31 in magnitude, because {number} states were added"
        raise InputError(argument, f"is {value}", expected, index=(int(entries[at]),), value=value)


def check_clusters(parts: Mapping[str, bytes]) -> None:
    """Raise InputError if only some of the samples of a sum of states have clusters."""
    for name in parts:
        if name.rpartition(".")[2] != "buckets":
            continue
        buckets = Ledger.from_bytes(parts[name])
        total = Ledger.from_bytes(parts.get(name.removesuffix("buckets") + "total", EMPTY))
        for ratio in range(max(total.size, buckets.size // BUCKETS)):
            used = [number for number in buckets.used() if number // BUCKETS == ratio]
            cells = [buckets.cell(number) for number in used]
            whole = total.cell(ratio) if ratio < total.size else {}
            for column in CLUSTERED:
                if sum(cell.get(column, 0) for cell in cells) != whole.get(column, 0):
                    raise mixed_clusters()


def write(ledger: Ledger, numbers: Array, out: Array) -> None:
    """Write the digits of cells to rows of ``out``, or raise InputError if a sum has too many digits."""
    try:
        digits.write(ledger, numbers, out)
    except OverflowError as error:
        raise InputError("metric", f"cannot be written as limbs: {error}", location="") from None


def read(ledger: Ledger, numbers: Array, sums: Array, argument: str) -> None:
    """Set cells that are 0 to these sums of digits, or raise InputError."""
    try:
        digits.read(ledger, numbers, np.ascontiguousarray(sums))
    except OverflowError as error:
        raise InputError(argument, f"has a counter that is out of range: {error}") from None


def whole_numbers(source: Any, argument: str) -> Array:
    """Return numbers as an array of int64, or raise InputError if one is no whole number of int64."""
    found = _numbers(source, argument)
    kind, expected = found.dtype.kind, "a whole number of int64"
    if kind == "f":
        # A larger number may be another one that was rounded.
        bits = min(np.finfo(found.dtype).nmant + 1, 53)
        with np.errstate(all="ignore"):
            wrong = ~((found == np.floor(found)) & (np.abs(found) < 2**bits))
        expected = f"a whole number below 2^{bits} in magnitude, because larger ones are not exact as {found.dtype}"
    elif kind in "iu":
        wrong = found > np.asarray(2**63 - 1, dtype=found.dtype) if found.dtype == np.uint64 else np.False_
    elif kind == "O":
        wrong = np.array([not _is_int64(value) for value in found.flat], dtype=bool)
    else:
        raise InputError(argument, f"has dtype {found.dtype}", "whole numbers")
    if np.any(wrong):
        at = int(np.argmax(wrong))
        value = found.flat[at]
        raise InputError(argument, f"is {short_repr(value)}", expected, index=(at,), value=value)
    if kind == "O":
        return np.array([int(value) for value in found.flat], dtype=np.int64)
    return np.ascontiguousarray(found, dtype=np.int64)


def _numbers(source: Any, argument: str) -> Any:
    """Return an array of one dimension with the numbers of any source, or raise InputError."""
    try:
        interop.check_memory(source)
        found = np.asanyarray(source)  # it keeps a mask that __array__ may return
        arrays.check_unmasked(source, argument, "a whole number")
        arrays.check_unmasked(found, argument, "a whole number")
    except (InputError, MemoryError):
        raise
    except Exception as error:  # any exception of a third-party array
        raise InputError(argument, f"is not an array ({reason(error)})", "whole numbers") from error
    if found.ndim != 1:
        raise InputError(argument, f"has shape {found.shape}", "one dimension of whole numbers", value=found.shape)
    return np.asarray(found)


def _is_int64(value: Any) -> bool:
    try:
        return bool(-(2**63) <= value < 2**63 and int(value) == value)  # int() of Decimal("1e999999") takes seconds
    except Exception:  # any exception of a third-party number
        return False


def _checked(source: Any, size: int) -> Array:
    """Return the array of a state of this size, or raise InputError."""
    array = whole_numbers(source, "array")
    if len(array) != size:
        expected = f"{size}, as to_limbs() of a metric with these options has"
        raise InputError("array", f"has length {len(array)}", expected, value=len(array))
    return array
