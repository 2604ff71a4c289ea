"""Groups: a table of keys, and a ledger with a cell for each.

Groups whose cell is 0 do not exist: whoever reads passes over them.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc, qsort
from libc.string cimport memcpy, memset

from streamce.core.grouping.key_index cimport (
    PREFETCH, SEED, Table, integer_key, key_end, keys_find, keys_prefetch, keys_slot, mix64, note, slot_at,
)
from streamce.core.kernels.kernels cimport fp_enter, fp_leave
from streamce.core.ledger.ledger cimport (
    ALL_FULL, MAX_COUNT, Ledger, cell_is_zero, cell_merge, cell_overflow, cell_write, get_u64, joint, page, put_u64,
)
from streamce.core.samples.samples cimport Samples, add_one, add_some

import numpy as np

from streamce.core.grouping.key_index import INTEGERS, KINDS, seen
from streamce.core.ledger.ledger import NAMES, beyond, range_of
from streamce.errors import InputError

# Samples whose groups are looked up together, so that the memory they lie in is on its way.
cdef enum:
    TOGETHER = 128


ctypedef struct place:
    int64_t key
    Py_ssize_t slot


cdef int by_key(const void* one, const void* other) noexcept nogil:
    cdef int64_t a = (<const place*>one).key
    cdef int64_t b = (<const place*>other).key
    return (a > b) - (a < b)


cdef extern from "Python.h":
    int PyGC_Disable() noexcept
    int PyGC_Enable() noexcept


cdef class gc_paused:
    """Keeps the garbage collector, which may run any Python, and with it other threads, from starting."""

    cdef bint collects

    def __enter__(self):
        self.collects = PyGC_Disable()

    def __exit__(self, *error):
        if self.collects:
            PyGC_Enable()


cdef class Groups:
    """Cells by key.

    All is done with garbage collection paused, and with the interpreter's lock held or within a critical section.

    No Python may run meanwhile, nor NumPy, many of whose functions let go of the lock: another thread could let go
    of groups, and of the slot that was just looked up.
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
        """Adds each sample to the cell of its key.

        Keys are ``integers``, if that is their only kind and none is null; else ``codes``, places in the
        list of the ``distinct`` ones, as bytes.
        """
        cdef const int64_t[::1] code = None
        cdef int64_t[::1] slot_of = None
        cdef Groups chunk
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
        chunk = Groups()
        chunk.add(samples, kinds, integers, codes, distinct)
        self.add_groups(chunk, 1, None)  # which checks each integer

    cpdef bint crowded(self, Samples samples):
        """Whether these samples may take an integer out of its range, so that adding them may fail."""
        return self.bound > MAX_COUNT - samples.start(samples.samples)

    cdef int add_each(
        self, Samples samples, const int64_t[::1] integers, const int64_t[::1] code, int64_t[::1] slot_of
    ) except -1:
        """Adds each sample to the cell of its key, for which memory is reserved."""
        cdef Py_ssize_t[TOGETHER] slot
        cdef uint64_t[TOGETHER] hash
        cdef Py_ssize_t at, i, cell, k
        cdef page* p
        cdef unsigned long long saved = fp_enter()
        try:
            for at in range(0, samples.samples, TOGETHER):
                k = min(<Py_ssize_t>TOGETHER, samples.samples - at)
                if integers is None:
                    for i in range(k):
                        slot[i] = slot_of[code[at + i]]
                else:
                    for i in range(k):
                        hash[i] = mix64(<uint64_t>integers[at + i] ^ SEED)
                        keys_prefetch(&self.table.held, hash[i])
                    for i in range(k):
                        slot[i] = slot_at(keys_find(
                            &self.table.held, hash[i], <uint64_t>integers[at + i], NULL, 0, True
                        ))
                if self.table.slots() > self.ledger.size:
                    self.ledger.grow(self.table.slots())
                for i in range(k):
                    cell = slot[i]
                    p = self.ledger.page_of(&cell)
                    PREFETCH(p.words + cell * p.stride)
                    PREFETCH(p.words + cell * p.stride + 8)
                if not samples.odd and same(slot, k):  # for example if groups are hours and samples come in order
                    add_some(samples, at, k, self.ledger, slot[0])
                elif samples.odd or samples.d is not NULL:
                    for i in range(k):
                        add_one(samples, at + i, self.ledger, slot[i])
                else:
                    for i in range(k):
                        self.ledger.add_unit_sample(slot[i], samples.n[at + i], 1)
        finally:
            fp_leave(saved)
        return 0

    def check(self, tuple kinds not None) -> None:
        """Raises unless keys of these kinds can be added."""
        with cython.critical_section(self):
            self.ensure_kinds(kinds)

    cdef int ensure_kinds(self, tuple kinds) except -1:
        """Makes this a table of keys of these kinds; an error if it holds keys of others."""
        cdef Groups new
        cdef tuple had = self.kinds
        if had is not None and len(kinds) == len(had) and all(of is None or of == by for of, by in zip(kinds, had)):
            return 0
        if len(kinds) > 255:
            raise InputError("by", f"has {len(kinds)} parts", "at most 255", value=len(kinds))
        had = self.known()
        if had is None:
            self.clear()
            self.kinds = kinds
            self.table = Table(len(kinds) == 1 and kinds[0] in INTEGERS)
            return 0
        if len(kinds) != len(had):
            raise InputError("by", f"has {len(kinds)} parts", f"{len(had)}, as before", value=len(kinds))
        for of, by in zip(kinds, had):
            if of is not None and by is not None and of != by:
                raise InputError("by", f"has keys of kind {of}", f"{by}, as before", value=of)
        new = Groups()
        new.ensure_kinds(tuple(of or by for of, by in zip(kinds, had)))
        new.merge_from(self, 1)
        self.replace_with(new)
        return 0

    cdef tuple known(self):
        """The kinds, None for parts that are null in all keys; None if there are no groups."""
        cdef Py_ssize_t slot
        found = None
        for slot in range(self.table.slots()):
            if self.is_occupied(slot):
                if found is None:
                    found = [None] * len(self.kinds)
                note(found, self.kinds, self.table.key(slot))
                if None not in found:
                    break
        return None if found is None else tuple(found)

    cdef void replace_with(self, Groups other) noexcept:
        self.kinds, self.table, self.ledger, self.n_vacated = other.kinds, other.table, other.ledger, 0
        self.bound = other.bound

    # ---- the group ----

    def merge(self, Groups other not None, int sign=1) -> None:
        """Add other groups, or with ``sign=-1`` take them away; or an error and nothing."""
        self.add_groups(other.copy(), sign, "other")

    cdef int add_groups(self, Groups theirs, int sign, str argument) except -1:
        """Adds groups that no other thread changes. If that fails, the error names ``argument``."""
        cdef Py_ssize_t slot, cell, our_cell
        cdef page* p
        cdef page* q
        cdef page nothing
        cdef int full
        if theirs.kinds is None or not theirs.count():
            return 0
        memset(&nothing, 0, sizeof(page))
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
                p = self.ledger.page_of(&our_cell) if 0 <= our_cell < self.ledger.size else &nothing
                full = cell_overflow(p, our_cell, q, cell, sign, MAX_COUNT)
                if full >= 0:
                    raise beyond(full, argument)
            self.merge_from(theirs, sign)
            # Lets go of groups that are 0, which may come of either sign. Looking for them takes as long as there
            # are slots, so it waits until as many may have become 0 as half of them.
            if 2 * self.n_vacated >= self.table.slots() - 1:
                if 2 * self.count() < self.table.slots() - 1:
                    self.replace_with(self.copied())
                self.n_vacated = 0
        return 0

    def drop_before(self, int64_t least) -> None:
        """Lets go of the groups whose key, one integer, is less; there is room for at most as many others then."""
        cdef Py_ssize_t slot, cell
        cdef page* p
        with gc_paused(), cython.critical_section(self):
            for slot in range(1, self.table.slots()):
                if self.is_occupied(slot) and self.number(slot) < least:
                    cell = slot
                    p = self.ledger.page_of(&cell)
                    memset(p.words + cell * p.stride, 0, p.stride * sizeof(uint64_t))
            if 2 * self.count() < self.table.slots() - 1:
                self.replace_with(self.copied())

    cdef int64_t number(self, Py_ssize_t slot) noexcept:
        """The key of a slot, where keys are one integer and it is not null."""
        return <int64_t>keys_slot(&self.table.held, slot - 1)[0]

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
        """A copy for the thread that holds the lock: to take the same lock again would let others in between."""
        cdef Groups new = Groups()
        kinds = self.known()
        if kinds is not None:
            new.ensure_kinds(kinds)
            new.merge_from(self, 1)
        return new

    # ---- reading ----

    def slots(self) -> int:
        """How many groups there is room for, those that are 0 among them."""
        return self.table.slots()

    cpdef Py_ssize_t count(self) except -1:
        """How many groups there are."""
        cdef Py_ssize_t slot, count = 0
        for slot in range(self.table.slots()):
            count += self.is_occupied(slot)
        return count

    def newest(self) -> int | None:
        """The largest key, where keys are one integer; None if there are no groups."""
        cdef Py_ssize_t slot
        cdef int64_t most = 0
        cdef bint any = False
        with gc_paused(), cython.critical_section(self):
            for slot in range(1, self.table.slots()):
                if self.is_occupied(slot) and (not any or self.number(slot) > most):
                    most, any = self.number(slot), True
        return most if any else None

    def cell(self, bytes key not None) -> Ledger | None:
        """A ledger of one cell, that of a key given as its bytes; None if there is no such group."""
        cdef Ledger found = Ledger(1)
        with gc_paused(), cython.critical_section(self):
            slot = self.table.find(key, False)
            if slot < 0 or not self.is_occupied(slot):
                return None
            add_cell(self.ledger, slot, found, 0)
        return found

    def total(self, least=None) -> Ledger:
        """A ledger of one cell, the sum of all groups; or of those whose key, one integer, is ``least`` or more."""
        cdef bint all = least is None
        cdef int64_t first = 0 if all else least
        cdef Ledger found = Ledger(1)
        cdef Py_ssize_t slot, cell, at
        cdef int full
        cdef page* p
        cdef page* q
        with gc_paused(), cython.critical_section(self):
            for slot in range(self.table.slots()):
                if not self.is_occupied(slot) or not (all or self.number(slot) >= first):
                    continue
                cell, at = slot, 0
                p, q = self.ledger.page_of(&cell), found.page_of(&at)
                full = cell_overflow(q, at, p, cell, 1, MAX_COUNT)
                if full >= 0:
                    raise InputError(
                        "by", f"{NAMES[full]} of all groups together is beyond {range_of(full)}", location=""
                    )
                add_cell(self.ledger, slot, found, 0)
        return found

    def cells(self) -> Ledger:
        """A ledger of the cells of all groups, in no order."""
        cdef Ledger found = Ledger(0, True)
        cdef Py_ssize_t slot, number = 0
        with gc_paused(), cython.critical_section(self):
            found.grow(self.count())
            for slot in range(self.table.slots()):
                if self.is_occupied(slot):
                    add_cell(self.ledger, slot, found, number)
                    number += 1
        return found

    def sorted(self):
        """The kinds and the keys of all groups, in order, and a ledger of their cells.

        Keys that are one integer are an array, of which ``null`` says whether null stands before it
        as a group of its own; others are a list of bytes: (kinds, null, keys, ledger).
        """
        cdef Ledger held, found = Ledger(0, True)
        cdef Table table
        cdef Py_ssize_t slot, i
        cdef Py_ssize_t size = 0
        cdef int64_t[::1] integer
        cdef bint null = False
        cdef place* places = NULL
        try:
            with gc_paused(), cython.critical_section(self):
                kinds, table, held = self.kinds, self.table, self.ledger
                size = self.count()
                found.grow(size)
                places = <place*>malloc((size + 1) * sizeof(place))
                if places is NULL:
                    raise MemoryError
                i = 0
                for slot in range(table.slots()):
                    if self.is_occupied(slot):
                        places[i].slot = slot
                        places[i].key = self.number(slot) if table.integers and slot else 0
                        i += 1
                null = table.integers and size > 0 and places[0].slot == 0
                if table.integers:
                    qsort(places + null, size - null, sizeof(place), by_key)
                else:
                    unsorted = [table.key(places[i].slot) for i in range(size)]
                    keys = []
                    for i, slot in enumerate(sorted(range(size), key=unsorted.__getitem__)):
                        keys.append(unsorted[slot])
                        places[i].key = places[slot].slot
                    for i in range(size):
                        places[i].slot = places[i].key
                for i in range(size):
                    add_cell(held, places[i].slot, found, i)
            if table.integers:
                keys = np.empty(size - null, dtype=np.int64)
                integer = keys
                for i in range(size - null):
                    integer[i] = places[null + i].key
        finally:
            free(places)
        return kinds, bool(null), keys, found

    # ---- bytes ----

    def parts(self) -> dict[str, bytes]:
        """The bytes of all groups, if there are any."""
        cdef Ledger ledger
        cdef Py_ssize_t size, cell, number
        cdef page* p
        cdef uint8_t* out
        cdef bytes key
        kinds, null, found_keys, ledger = self.sorted()
        if ledger.size == 0:
            return {}
        keys = found_keys
        if isinstance(keys, np.ndarray):
            keys = [b"\0"] * null + [integer_key(integer) for integer in keys]
        head = bytes([len(kinds)]) + bytes(KINDS.index(kind) for kind in seen(kinds, keys))
        size = len(head) + 8
        for number in range(ledger.size):
            cell = number
            key = keys[number]
            p = ledger.page_of(&cell)
            size += PyBytes_GET_SIZE(key) + <Py_ssize_t>cell_write(p, cell, NULL)
        cdef bytes found = PyBytes_FromStringAndSize(NULL, size)
        out = <uint8_t*>PyBytes_AS_STRING(found)
        memcpy(out, PyBytes_AS_STRING(head), len(head))
        out = put_u64(out + <Py_ssize_t>len(head), ledger.size)
        for number in range(ledger.size):
            cell = number
            key = keys[number]
            memcpy(out, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
            p = ledger.page_of(&cell)
            out += PyBytes_GET_SIZE(key)
            out += cell_write(p, cell, out)
        return {"groups": found}

    @staticmethod
    def from_parts(dict parts) -> Groups:
        """The groups whose ``parts()`` these are; ValueError if they make no sense."""
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
            # Sorting them later would spread wide cells over more pages than were accounted for here.
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


cdef bint same(const Py_ssize_t* slot, Py_ssize_t k) noexcept:
    """Whether k slots are one."""
    cdef Py_ssize_t i
    for i in range(1, k):
        if slot[i] != slot[0]:
            return False
    return True


cdef int add_cell(Ledger source, Py_ssize_t slot, Ledger ledger, Py_ssize_t cell) except -1:
    """Adds a cell of a ledger to one of another."""
    cdef page* p = source.page_of(&slot)
    cdef page* q = ledger.page_of(&cell)
    if cell_merge(q, cell, p, slot, 1) < 0:
        raise MemoryError
    return 0
