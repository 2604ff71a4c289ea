"""Keys: a table that gives each new key the next slot, and the bytes of keys.

A key has one part or several, each of a kind. A key of one integer (an int, a bool or a datetime) is hashed as an
integer. Any other key is hashed as its bytes in state files (docs/FORMAT.md).
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

import os

import numpy as np

from streamce.errors import InputError

# The index of a kind is its number in the bytes of a state. None means that the part is null in all keys.
KINDS = (None, "int", "str", "bytes", "datetime", "bool")
INTEGERS = ("int", "datetime", "bool")
# The seed is random, so that nobody can choose keys that collide.
SEED = int.from_bytes(os.urandom(8), "little")
# Datetimes are microseconds since 1970. The limits are those of Python's datetime: years 1 to 9999.
EARLIEST, LATEST = -62_135_596_800_000_000, 253_402_300_799_999_999
cdef uint64_t TOP = <uint64_t>1 << 63


cdef class Table:
    """A hash table of keys. Slots are numbered from 1 in the order in which keys were added. Slot 0 is for null."""

    def __cinit__(self, bint integers):
        self.integers = integers
        self.index.seed = SEED

    def __dealloc__(self):
        keys_free(&self.index)

    cdef Py_ssize_t slots(self) noexcept:
        return 1 + self.index.size

    cdef Py_ssize_t find(self, bytes key, bint add) except -2:
        """Return the slot of a key, which is given as bytes, or -1 if it has none. ``add`` gives it the next slot."""
        cdef const uint8_t* data = <const uint8_t*>PyBytes_AS_STRING(key)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(key)
        if self.integers:
            return self.find_integer(<int64_t>(big_endian(data + 1) ^ TOP), add) if data[0] else 0
        if size > <Py_ssize_t>0xFFFFFFF0:
            raise InputError("by", "has a key of 4 gigabytes", "shorter ones")
        return slot_at(keys_find(&self.index, hash_bytes(data, size, SEED), 0, data, <uint32_t>size, add))

    cdef Py_ssize_t find_integer(self, int64_t key, bint add) except -2:
        return slot_at(keys_find(&self.index, mix64(<uint64_t>key ^ SEED), <uint64_t>key, NULL, 0, add))

    cdef Py_ssize_t find_of(self, Table other, Py_ssize_t slot, bint add) except -2:
        """Return the slot in this table of a key of another table, as ``find`` does."""
        if self.integers and other.integers:
            return self.find_integer(<int64_t>keys_slot(&other.index, slot - 1)[0], add) if slot else 0
        return self.find(other.key(slot), add)

    cdef bytes key(self, Py_ssize_t slot):
        """Return the bytes of a slot's key."""
        cdef const uint8_t* stored
        cdef uint32_t size
        if slot == 0:
            return b"\0"
        if self.integers:
            return integer_key(<int64_t>keys_slot(&self.index, slot - 1)[0])
        stored = <const uint8_t*>keys_slot(&self.index, slot - 1)[0]
        memcpy(&size, stored, 4)
        return (<const char*>stored)[4:4 + <Py_ssize_t>size]


cdef bytes integer_key(int64_t integer):
    """Return the bytes of a key of one integer."""
    cdef uint64_t word = <uint64_t>integer ^ TOP
    cdef uint8_t[9] data
    cdef int i
    data[0] = 1
    for i in range(8):
        data[1 + i] = <uint8_t>(word >> 8 * (7 - i))
    return (<const char*>data)[:9]


cdef Py_ssize_t slot_at(Py_ssize_t index) except -2:
    """Return the slot for a result of ``keys_find``."""
    if index == -2:
        raise MemoryError
    return index + 1 if index >= 0 else -1


cdef uint64_t big_endian(const uint8_t* data) noexcept:
    cdef uint64_t word = 0
    cdef int i
    for i in range(8):
        word = word << 8 | data[i]
    return word


cdef Py_ssize_t key_end(const uint8_t* data, Py_ssize_t at, Py_ssize_t size, tuple kinds) except -1:
    """Return where the key that begins at ``at`` ends. Raise a ValueError if it is malformed."""
    cdef Py_ssize_t length
    for kind in kinds:
        if at >= size or data[at] > 1:
            raise ValueError("a key is cut short")
        at += 1
        if data[at - 1] == 0:
            continue
        if kind is None:
            raise ValueError("a key has a part of no kind")
        length = 8
        if kind not in INTEGERS:
            if size - at < 4:
                raise ValueError("a key is cut short")
            length = <Py_ssize_t>data[at] << 24 | data[at + 1] << 16 | data[at + 2] << 8 | data[at + 3]
            at += 4
        if size - at < length:
            raise ValueError("a key is cut short")
        if kind == "str":
            (<const char*>data)[at:at + length].decode("utf-8")
        elif kind == "bool" and big_endian(data + at) ^ TOP > 1:
            raise ValueError("a key that is neither true nor false")
        elif kind == "datetime" and not EARLIEST <= <int64_t>(big_endian(data + at) ^ TOP) <= LATEST:
            raise ValueError("a moment before year 1 or after year 9999")
        at += length
    return at


def key_length(const uint8_t[::1] data, Py_ssize_t at, tuple kinds) -> int:
    """Return the number of bytes of the key that begins at ``at``. Raise a ValueError if it is malformed."""
    return key_end(&data[0], at, data.shape[0], kinds) - at if data.shape[0] else 0


def used_kinds(tuple kinds, list keys) -> tuple:
    """Return the kind of each part, None if a part is null in all keys."""
    used = [None] * len(kinds)
    for key in keys:
        add_kinds(used, kinds, key)
        if None not in used:
            break
    return tuple(used)


cdef int add_kinds(list used, tuple kinds, bytes key) except -1:
    """Write the kinds of the parts of a key that are not null to ``used``."""
    cdef Py_ssize_t at = 0
    for i, kind in enumerate(kinds):
        if key[at]:
            used[i] = kind
            at = key_end(<const uint8_t*>PyBytes_AS_STRING(key), at, PyBytes_GET_SIZE(key), (kind,))
        else:
            at += 1
    return 0


# ---- keys of a batch ----


def distinct(const uint8_t[:, ::1] rows):
    """Number the distinct rows. Return the number of each row, and the first row with each number."""
    cdef Py_ssize_t i, number
    cdef Py_ssize_t size = rows.shape[1]
    cdef Table table = Table(False)
    codes, first = np.empty(rows.shape[0], dtype=np.int64), []
    cdef int64_t[::1] code = codes
    if size > <Py_ssize_t>0xFFFFFFF0:
        raise MemoryError
    for i in range(rows.shape[0]):
        number = slot_at(keys_find(
            &table.index, hash_bytes(&rows[i, 0], size, SEED), 0, &rows[i, 0], <uint32_t>size, True
        )) - 1
        if number == <Py_ssize_t>len(first):
            first.append(i)
        code[i] = number
    return codes, np.array(first, dtype=np.int64)


def buckets_of_integers(const int64_t[::1] integers):
    """Return the bucket of each cluster. Clusters are given as integers."""
    buckets = np.empty(integers.shape[0], dtype=np.uint8)
    cdef uint8_t[::1] bucket = buckets
    cdef Py_ssize_t i
    for i in range(integers.shape[0]):
        bucket[i] = <uint8_t>(mix64(<uint64_t>integers[i]) >> 56)
    return buckets


def bucket_of(bytes key, bint integer) -> int:
    """Return the bucket of a cluster, which is given as the bytes of a key."""
    cdef const uint8_t* data = <const uint8_t*>PyBytes_AS_STRING(key)
    if integer:
        return mix64(big_endian(data + 1) ^ TOP) >> 56
    return hash_bytes(data, PyBytes_GET_SIZE(key), 0) >> 56
