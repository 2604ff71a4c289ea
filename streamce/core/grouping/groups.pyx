"""Groups: a table of keys, and a ledger with a cell for each.

A group whose cell is 0 does not exist. All methods that read skip it.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc, qsort
from libc.string cimport memcpy, memset

from streamce.core.grouping.key_index cimport (
    PREFETCH, SEED, Table, integer_key, key_end, keys_find, keys_prefetch, keys_slot, mix64, add_kinds, slot_at,
)
from streamce.core.kernels.kernels cimport fp_enter, fp_leave
from streamce.core.ledger.ledger cimport (
    ALL_FULL, MAX_COUNT, Ledger, cell_is_zero, cell_merge, cell_overflow, cell_write, get_u64, joint, page, put_u64,
)
from streamce.core.samples.samples cimport Samples, add_sample, add_samples

import numpy as np

from streamce.core.grouping.key_index import INTEGERS, KINDS, used_kinds
from streamce.core.ledger.ledger import NAMES, beyond, range_of
from streamce.errors import InputError

# Samples that are looked up together, so that the memory of their groups can be prefetched.
cdef enum:
    LOOKUP_SIZE = 128


ctypedef struct keyed_slot:
    int64_t key
    Py_ssize_t slot


cdef int by_key(const void* one, const void* other) noexcept nogil:
    cdef int64_t a = (<const keyed_slot*>one).key
    cdef int64_t b = (<const keyed_slot*>other).key
    return (a > b) - (a < b)


cdef extern from "Python.h":
    int PyGC_Disable() noexcept
    int PyGC_Enable() noexcept


cdef class gc_paused:
    """A context without garbage collection, because a collection can run any Python code and let other threads run."""

    cdef bint collects

    def __enter__(self):
        self.collects = PyGC_Disable()

    def __exit__(self, *error):
        if self.collects:
            PyGC_Enable()


cdef class Groups:
    """A table of keys, and a ledger with a cell for each key.

    Methods hold the interpreter lock or a critical section, and pause garbage collection. Within that they call no
    Python code and no NumPy function, except to raise an error, because these can release the lock. Another thread
    could then replace the table to which a slot belongs.
    """

    def __cinit__(self):
        self.clear()

    def clear(self):
        self.kinds = None
        self.table = Table(False)
        self.ledger = Ledger(1, True)
        self.n_vacated = 0
        self.bound = 0

    # ---- adding ----

    def add(self, Samples samples not None, tuple kinds not None, const int64_t[::1] integers, codes, list distinct):
        """Add each sample to the cell of its key.

        If keys are one integer and none is null, ``integers`` holds them. Otherwise ``codes`` holds the index of each
        key in ``distinct``, which is a list of keys as bytes.
        """
        cdef const int64_t[::1] code = None
        cdef int64_t[::1] slot_of = None
        cdef Groups batch
        if (len(codes) if integers is None else integers.shape[0]) != samples.samples:
            raise ValueError("as many keys as samples")
        if integers is None:
            code = codes
            slot_of = np.empty(len(distinct), dtype=np.int64)
        with gc_paused(), cython.critical_section(self):
            self.ensure_kinds(kinds)
            if not self.crowded(samples):
                self.bound += samples.start(samples.samples)
                for i, key in enumerate(distinct):
                    slot_of[i] = self.table.find(key, True)
                self.add_each(samples, integers, code, slot_of)
                return
        batch = Groups()
        batch.add(samples, kinds, integers, codes, distinct)
        self.add_groups(batch, 1, None)  # checks the range of each integer

    cpdef bint crowded(self, Samples samples):
        """Return whether these samples can take an integer out of its range. If so, adding them can fail."""
        return self.bound > MAX_COUNT - samples.start(samples.samples)

    cdef int add_each(
        self, Samples samples, const int64_t[::1] integers, const int64_t[::1] code, int64_t[::1] slot_of
    ) except -1:
        """Add each sample to the cell of its key. Without ``integers``, sample i belongs to ``slot_of[code[i]]``."""
        cdef Py_ssize_t[LOOKUP_SIZE] slot
        cdef uint64_t[LOOKUP_SIZE] hash
        cdef Py_ssize_t at, i, cell, k
        cdef page* p
        cdef unsigned long long saved = fp_enter()
        try:
            for at in range(0, samples.samples, LOOKUP_SIZE):
                k = min(<Py_ssize_t>LOOKUP_SIZE, samples.samples - at)
                if integers is None:
                    for i in range(k):
                        slot[i] = slot_of[code[at + i]]
                else:
                    for i in range(k):
                        hash[i] = mix64(<uint64_t>integers[at + i] ^ SEED)
                        keys_prefetch(&self.table.index, hash[i])
                    for i in range(k):
                        slot[i] = slot_at(keys_find(
                            &self.table.index, hash[i], <uint64_t>integers[at + i], NULL, 0, True
                        ))
                if self.table.slots() > self.ledger.size:
                    self.ledger.grow(self.table.slots())
                for i in range(k):
                    cell = slot[i]
                    p = self.ledger.page_of(&cell)
                    PREFETCH(p.words + cell * p.stride)
                    PREFETCH(p.words + cell * p.stride + 8)
                if not samples.odd and all_equal(slot, k):  # common if groups are hours and samples arrive in order
                    add_samples(samples, at, k, self.ledger, slot[0])
                elif samples.odd or samples.d is not NULL:
                    for i in range(k):
                        add_sample(samples, at + i, self.ledger, slot[i])
                else:
                    for i in range(k):
                        self.ledger.add_unit_sample(slot[i], samples.n[at + i], 1)
        finally:
            fp_leave(saved)
        return 0

    def check(self, tuple kinds not None) -> None:
        """Raise an InputError unless keys of these kinds can be added."""
        with cython.critical_section(self):
            self.ensure_kinds(kinds)

    cdef int ensure_kinds(self, tuple kinds) except -1:
        """Make this a table of keys of these kinds, or raise an InputError if it holds keys of other kinds."""
        cdef Groups new
        cdef tuple old = self.kinds
        if old is not None and len(kinds) == len(old) and all(a is None or a == b for a, b in zip(kinds, old)):
            return 0
        if len(kinds) > 255:
            raise InputError("by", f"has {len(kinds)} parts", "at most 255", value=len(kinds))
        old = self.known()
        if old is None:
            self.clear()
            self.kinds = kinds
            self.table = Table(len(kinds) == 1 and kinds[0] in INTEGERS)
            return 0
        if len(kinds) != len(old):
            raise InputError("by", f"has {len(kinds)} parts", f"{len(old)}, as before", value=len(kinds))
        for kind, old_kind in zip(kinds, old):
            if kind is not None and old_kind is not None and kind != old_kind:
                raise InputError("by", f"has keys of kind {kind}", f"{old_kind}, as before", value=kind)
        new = Groups()
        new.ensure_kinds(tuple(kind or old_kind for kind, old_kind in zip(kinds, old)))
        new.merge_from(self, 1)
        self.replace_with(new)
        return 0

    cdef tuple known(self):
        """Return the kind of each part, None if a part is null in all keys. Return None if there are no groups."""
        cdef Py_ssize_t slot
        used = None
        for slot in range(self.table.slots()):
            if self.is_occupied(slot):
                if used is None:
                    used = [None] * len(self.kinds)
                add_kinds(used, self.kinds, self.table.key(slot))
                if None not in used:
                    break
        return None if used is None else tuple(used)

    cdef void replace_with(self, Groups other) noexcept:
        self.kinds, self.table, self.ledger, self.n_vacated = other.kinds, other.table, other.ledger, 0
        self.bound = other.bound

    # ---- adding and subtracting groups ----

    def merge(self, Groups other not None, int sign=1) -> None:
        """Add other groups, or subtract them if ``sign`` is -1. If that fails, nothing changes."""
        self.add_groups(other.copy(), sign, "other")

    cdef int add_groups(self, Groups theirs, int sign, str argument) except -1:
        """Add groups that no other thread changes. If that fails, the error names ``argument``."""
        cdef Py_ssize_t slot, cell, our_cell
        cdef page* p
        cdef page* q
        cdef page empty
        cdef int full
        if theirs.kinds is None or not theirs.count():
            return 0
        memset(&empty, 0, sizeof(page))
        with gc_paused(), cython.critical_section(self):
            try:
                self.ensure_kinds(theirs.kinds)
            except InputError as error:
                raise error.enclosed("other") from None
            for slot in range(theirs.table.slots()):
                if not theirs.is_occupied(slot):
                    continue
                cell, our_cell = slot, self.table.find_of(theirs.table, slot, False)
                q = theirs.ledger.page_of(&cell)
                p = self.ledger.page_of(&our_cell) if 0 <= our_cell < self.ledger.size else &empty
                full = cell_overflow(p, our_cell, q, cell, sign, MAX_COUNT)
                if full >= 0:
                    raise beyond(full, argument)
            self.merge_from(theirs, sign)
            # Drop groups that became 0, which addition and subtraction can both cause. A search visits every slot, so
            # it is done only when half of the slots may be empty.
            if 2 * self.n_vacated >= self.table.slots() - 1:
                if 2 * self.count() < self.table.slots() - 1:
                    self.replace_with(self.copied())
                self.n_vacated = 0
        return 0

    def drop_before(self, int64_t min_key) -> None:
        """Drop the groups whose key, one integer, is below ``min_key``. Shrink if most slots are then empty."""
        cdef Py_ssize_t slot, cell
        cdef page* p
        with gc_paused(), cython.critical_section(self):
            for slot in range(1, self.table.slots()):
                if self.is_occupied(slot) and self.number(slot) < min_key:
                    cell = slot
                    p = self.ledger.page_of(&cell)
                    memset(p.words + cell * p.stride, 0, p.stride * sizeof(uint64_t))
            if 2 * self.count() < self.table.slots() - 1:
                self.replace_with(self.copied())

    cdef int64_t number(self, Py_ssize_t slot) noexcept:
        """Return the key of a slot. Keys must be one integer, and this key not null."""
        return <int64_t>keys_slot(&self.table.index, slot - 1)[0]

    cdef int merge_from(self, Groups other, int sign) except -1:
        cdef Py_ssize_t slot, cell, ours
        cdef page* p
        cdef page* q
        for slot in range(other.table.slots()):
            if not other.is_occupied(slot):
                continue
            ours = self.table.find_of(other.table, slot, True)
            if ours >= self.ledger.size:
                self.ledger.grow(self.table.slots())
            cell = slot
            p = self.ledger.page_of(&ours)
            q = other.ledger.page_of(&cell)
            if cell_merge(p, ours, q, cell, sign) < 0:
                raise MemoryError
            self.n_vacated += cell_is_zero(p, ours)
        self.bound = joint(self.bound, other.bound)
        if self.bound == ALL_FULL:
            self.bound = self.ledger.bound()
        return 0

    cdef bint is_occupied(self, Py_ssize_t slot) noexcept:
        cdef Py_ssize_t cell = slot
        if slot >= self.ledger.size:
            return False
        cdef page* p = self.ledger.page_of(&cell)
        return not cell_is_zero(p, cell)

    def copy(self) -> Groups:
        with gc_paused(), cython.critical_section(self):
            return self.copied()

    cdef Groups copied(self):
        """Return a copy, for a thread that holds the lock: taking the lock again could let other threads in."""
        cdef Groups new = Groups()
        kinds = self.known()
        if kinds is not None:
            new.ensure_kinds(kinds)
            new.merge_from(self, 1)
        return new

    # ---- reading ----

    def slots(self) -> int:
        """Return the number of slots, which includes those of groups that are 0."""
        return self.table.slots()

    cpdef Py_ssize_t count(self) except -1:
        """Return the number of groups."""
        cdef Py_ssize_t slot, count = 0
        for slot in range(self.table.slots()):
            count += self.is_occupied(slot)
        return count

    def newest(self) -> int | None:
        """Return the largest key, or None if there are no groups. Keys must be one integer."""
        cdef Py_ssize_t slot
        cdef int64_t largest = 0
        cdef bint is_empty = True
        with gc_paused(), cython.critical_section(self):
            for slot in range(1, self.table.slots()):
                if self.is_occupied(slot) and (is_empty or self.number(slot) > largest):
                    largest, is_empty = self.number(slot), False
        return None if is_empty else largest

    def cell(self, bytes key not None) -> Ledger | None:
        """Return the group of a key, given as bytes, as a ledger of one cell, or None if there is none."""
        cdef Ledger group = Ledger(1)
        with gc_paused(), cython.critical_section(self):
            slot = self.table.find(key, False)
            if slot < 0 or not self.is_occupied(slot):
                return None
            group.add_cell(0, self.ledger, slot)
        return group

    def total(self, min_key=None) -> Ledger:
        """Return the sum of all groups as a ledger of one cell.

        With ``min_key``, add only the groups whose key is not below it. Keys must then be one integer.
        """
        cdef bint all = min_key is None
        cdef int64_t min_number = 0 if all else min_key
        cdef Ledger total = Ledger(1)
        cdef Py_ssize_t slot, cell, at
        cdef int full
        cdef page* p
        cdef page* q
        with gc_paused(), cython.critical_section(self):
            for slot in range(self.table.slots()):
                if not self.is_occupied(slot) or not (all or self.number(slot) >= min_number):
                    continue
                cell, at = slot, 0
                p, q = self.ledger.page_of(&cell), total.page_of(&at)
                full = cell_overflow(q, at, p, cell, 1, MAX_COUNT)
                if full >= 0:
                    raise InputError(
                        "by", f"{NAMES[full]} of all groups together is beyond {range_of(full)}", location=""
                    )
                total.add_cell(0, self.ledger, slot)
        return total

    def cells(self) -> Ledger:
        """Return a ledger of the cells of all groups, in no particular order."""
        cdef Ledger cells = Ledger(0, True)
        cdef Py_ssize_t slot, number = 0
        with gc_paused(), cython.critical_section(self):
            cells.grow(self.count())
            for slot in range(self.table.slots()):
                if self.is_occupied(slot):
                    cells.add_cell(number, self.ledger, slot)
                    number += 1
        return cells

    def sorted(self):
        """Return all groups in the order of their keys: (kinds, null, keys, ledger).

        If keys are one integer, ``keys`` is an array of integers. ``null`` then says whether the first cell of the
        ledger is that of the null key, which is not in the array. Otherwise ``keys`` is a list of bytes.
        """
        cdef Ledger ledger = Ledger(0, True)
        cdef Table table
        cdef Py_ssize_t slot, i
        cdef Py_ssize_t size = 0
        cdef int64_t[::1] integer
        cdef bint null = False
        cdef keyed_slot* group = NULL
        try:
            with gc_paused(), cython.critical_section(self):
                kinds, table = self.kinds, self.table
                size = self.count()
                ledger.grow(size)
                group = <keyed_slot*>malloc((size + 1) * sizeof(keyed_slot))
                if group is NULL:
                    raise MemoryError
                i = 0
                for slot in range(table.slots()):
                    if self.is_occupied(slot):
                        group[i].slot = slot
                        group[i].key = self.number(slot) if table.integers and slot else 0
                        i += 1
                null = table.integers and size > 0 and group[0].slot == 0
                if table.integers:
                    qsort(group + null, size - null, sizeof(keyed_slot), by_key)
                else:
                    slot_of = {table.key(group[i].slot): group[i].slot for i in range(size)}
                    keys = sorted(slot_of)
                    for i, key in enumerate(keys):
                        group[i].slot = slot_of[key]
                for i in range(size):
                    ledger.add_cell(i, self.ledger, group[i].slot)
            if table.integers:
                keys = np.empty(size - null, dtype=np.int64)
                integer = keys
                for i in range(size - null):
                    integer[i] = group[null + i].key
        finally:
            free(group)
        return kinds, bool(null), keys, ledger

    # ---- bytes ----

    def parts(self) -> dict[str, bytes]:
        """Return the bytes of all groups, by the name of the part. Without groups there is no part."""
        cdef Ledger ledger
        cdef Py_ssize_t size, cell, number
        cdef page* p
        cdef uint8_t* out
        cdef bytes key
        kinds, null, sorted_keys, ledger = self.sorted()
        if ledger.size == 0:
            return {}
        keys = sorted_keys
        if isinstance(keys, np.ndarray):
            keys = [b"\0"] * null + [integer_key(integer) for integer in keys]
        head = bytes([len(kinds)]) + bytes(KINDS.index(kind) for kind in used_kinds(kinds, keys))
        size = len(head) + 8
        for number in range(ledger.size):
            cell = number
            key = keys[number]
            p = ledger.page_of(&cell)
            size += PyBytes_GET_SIZE(key) + <Py_ssize_t>cell_write(p, cell, NULL)
        cdef bytes data = PyBytes_FromStringAndSize(NULL, size)
        out = <uint8_t*>PyBytes_AS_STRING(data)
        memcpy(out, PyBytes_AS_STRING(head), len(head))
        out = put_u64(out + <Py_ssize_t>len(head), ledger.size)
        for number in range(ledger.size):
            cell = number
            key = keys[number]
            memcpy(out, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
            p = ledger.page_of(&cell)
            out += PyBytes_GET_SIZE(key)
            out += cell_write(p, cell, out)
        return {"groups": data}

    @staticmethod
    def from_parts(dict parts) -> Groups:
        """Return the groups whose ``parts()`` are given. Raise a ValueError if they are malformed."""
        cdef Groups new = Groups()
        cdef Py_ssize_t at, end, size, slot
        cdef bytes data, key, last = b""
        if not parts:
            return new
        if set(parts) != {"groups"}:
            raise ValueError(f"it has parts {sorted(parts)}")
        data = parts["groups"]
        cdef const uint8_t* start = <const uint8_t*>PyBytes_AS_STRING(data)
        size = PyBytes_GET_SIZE(data)
        at = 1 + data[0] + 8
        if at > size or not data[0]:
            raise ValueError("its groups are cut short")
        codes = data[1:1 + data[0]]
        if max(codes) >= len(KINDS):
            raise ValueError("its keys have parts of kinds that this release does not know")
        kinds = tuple(KINDS[code] for code in codes)
        new.ensure_kinds(kinds)
        for _ in range(<Py_ssize_t>min(get_u64(start + at - 8), <uint64_t>size)):
            end = key_end(start, at, size, kinds)
            key = data[at:end]
            # Keys must be sorted, because sorting them later would spread wide cells over more pages than read_cell()
            # has accounted for.
            if key <= last:
                raise ValueError("its keys are not in order, each once")
            slot = new.table.find(key, True)
            if slot >= new.ledger.size:
                new.ledger.grow(slot + 1)
            last, at = key, end + new.ledger.read_cell(slot, start + end, size - end, size)
        if at != size:
            raise ValueError("its groups end before its bytes do")
        new.bound = new.ledger.bound()
        return new


cdef bint all_equal(const Py_ssize_t* slot, Py_ssize_t k) noexcept:
    """Return whether k slots are the same slot."""
    cdef Py_ssize_t i
    for i in range(1, k):
        if slot[i] != slot[0]:
            return False
    return True
