"""Keys: a table that gives each the next slot, and what keys are as bytes.

A key has one part or several, each of a kind. One that is one integer (an int, a bool, a datetime) is hashed
as it is; any other as the bytes that state files have for it (docs/FORMAT.md).
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

import os

import numpy as np

from streamce.errors import InputError

# By their numbers in state bytes; None: no key has this part.
KINDS = (None, "int", "str", "bytes", "datetime", "bool")
INTEGERS = ("int", "datetime", "bool")
# Of this process, so that strangers cannot choose keys that collide.
SEED = int.from_bytes(os.urandom(8), "little")
# Datetimes are microseconds since 1970, of the years that Python's can have.
EARLIEST, LATEST = -62_135_596_800_000_000, 253_402_300_799_999_999
cdef uint64_t TOP = <uint64_t>1 << 63


cdef class Table:
    """Keys, each with a slot, from 1 on in the order they came."""

    def __cinit__(self, bint integers):
        self.integers = integers
        self.held.seed = SEED

    def __dealloc__(self):
        keys_free(&self.held)

    cdef Py_ssize_t slots(self) noexcept:
        return 1 + self.held.size

    cdef Py_ssize_t find(self, bytes key, bint add) except -2:
        """The slot of a key, given as its bytes; -1 if it has none."""
        cdef const uint8_t* data = <const uint8_t*>PyBytes_AS_STRING(key)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(key)
        if self.integers:
            return self.find_integer(<int64_t>(big_endian(data + 1) ^ TOP), add) if data[0] else 0
        if size > <Py_ssize_t>0xFFFFFFF0:
            raise InputError("by", "has a key of 4 gigabytes", "shorter ones")
        return slot_at(keys_find(&self.held, hash_bytes(data, size, SEED), 0, data, <uint32_t>size, add))

    cdef Py_ssize_t find_integer(self, int64_t key, bint add) except -2:
        return slot_at(keys_find(&self.held, mix64(<uint64_t>key ^ SEED), <uint64_t>key, NULL, 0, add))

    cdef Py_ssize_t find_of(self, Table other, Py_ssize_t slot, bint add) except -2:
        """The slot here of another table's key."""
        if self.integers and other.integers:
            return self.find_integer(<int64_t>keys_slot(&other.held, slot - 1)[0], add) if slot else 0
        return self.find(other.key(slot), add)

    cdef bytes key(self, Py_ssize_t slot):
        """A key as its bytes."""
        cdef const uint8_t* kept
        cdef uint32_t size
        if slot == 0:
            return b"\0"
        if self.integers:
            return integer_key(<int64_t>keys_slot(&self.held, slot - 1)[0])
        kept = <const uint8_t*>keys_slot(&self.held, slot - 1)[0]
        memcpy(&size, kept, 4)
        return (<const char*>kept)[4:4 + <Py_ssize_t>size]


cdef bytes integer_key(int64_t integer):
    """A key of one integer as its bytes."""
    cdef uint64_t word = <uint64_t>integer ^ TOP
    cdef uint8_t[9] data
    cdef int i
    data[0] = 1
    for i in range(8):
        data[1 + i] = <uint8_t>(word >> 8 * (7 - i))
    return (<const char*>data)[:9]


cdef Py_ssize_t slot_at(Py_ssize_t found) except -2:
    if found == -2:
        raise MemoryError
    return found + 1 if found >= 0 else -1


cdef uint64_t big_endian(const uint8_t* data) noexcept:
    cdef uint64_t word = 0
    cdef int i
    for i in range(8):
        word = word << 8 | data[i]
    return word


cdef Py_ssize_t key_end(const uint8_t* data, Py_ssize_t at, Py_ssize_t size, tuple kinds) except -1:
    """Where a key that begins at `at` ends."""
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


def seen(tuple kinds, list keys) -> tuple:
    """The kinds, None for parts that are null in all keys."""
    found = [None] * len(kinds)
    for key in keys:
        note(found, kinds, key)
        if None not in found:
            break
    return tuple(found)


cdef int note(list found, tuple kinds, bytes key) except -1:
    """Puts the kinds of the parts that a key has in their places."""
    cdef Py_ssize_t at = 0
    for i, kind in enumerate(kinds):
        if key[at]:
            found[i] = kind
            at = key_end(<const uint8_t*>PyBytes_AS_STRING(key), at, PyBytes_GET_SIZE(key), (kind,))
        else:
            at += 1
    return 0


# ---- keys of a chunk ----


def distinct(const uint8_t[:, ::1] rows):
    """Numbers each row by the rows that are new: (numbers, where each was new)."""
    cdef Py_ssize_t i, found
    cdef Py_ssize_t size = rows.shape[1]
    cdef Table table = Table(False)
    codes, first = np.empty(rows.shape[0], dtype=np.int64), []
    cdef int64_t[::1] code = codes
    if size > <Py_ssize_t>0xFFFFFFF0:
        raise MemoryError
    for i in range(rows.shape[0]):
        found = slot_at(keys_find(
            &table.held, hash_bytes(&rows[i, 0], size, SEED), 0, &rows[i, 0], <uint32_t>size, True
        )) - 1
        if found == <Py_ssize_t>len(first):
            first.append(i)
        code[i] = found
    return codes, np.array(first, dtype=np.int64)


def buckets_of_integers(const int64_t[::1] integers):
    """The bucket of each cluster, given as integers."""
    found = np.empty(integers.shape[0], dtype=np.uint8)
    cdef uint8_t[::1] bucket = found
    cdef Py_ssize_t i
    for i in range(integers.shape[0]):
        bucket[i] = <uint8_t>(mix64(<uint64_t>integers[i]) >> 56)
    return found


def bucket_of(bytes key, bint integer) -> int:
    """The bucket of a cluster, given as a key's bytes."""
    cdef const uint8_t* data = <const uint8_t*>PyBytes_AS_STRING(key)
    if integer:
        return mix64(big_endian(data + 1) ^ TOP) >> 56
    return hash_bytes(data, PyBytes_GET_SIZE(key), 0) >> 56
