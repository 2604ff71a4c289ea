"""The state of a metric: the ledgers of one stream. An addition changes all of them or none."""

cimport cython

from streamce.core.ledger.calibration_cells cimport ClassShares
from streamce.core.ledger.ledger cimport ALL_FULL, MAX_CELLS, SAMPLES, Ledger, joint

from streamce.core.ledger.ledger import beyond, mixed_clusters
from streamce.errors import InputError


cdef class State:
    """The ledgers of a metric.

    ``total`` has a cell for each ratio Σn / Σd. The first ratio is the mean loss. The others divide the same samples by
    other denominators. The other ledgers are None until they are used. ``cells`` has a cell for each class, label or
    position, ``buckets`` for each bucket of clusters, and ``tail`` for each bin of losses. ``calibration`` has cells of
    expected losses, and of how often predictions were right.

    A reader copies the state first, so that all integers belong to the same samples while other threads add.
    """

    def __cinit__(self, Ledger total=None):
        self.total = total if total is not None else Ledger(1)
        self.total.size_quantum = 1
        self.bound = 0 if total is None else self.total.bound()

    cdef Ledger cells_of(self, Py_ssize_t size, bint growing=False):
        """Return the ledger of cells. Create it if there is none, or if it is 0 and has another size."""
        if size > MAX_CELLS:
            raise InputError(
                "preds", f"has {size} classes, labels or positions: there are sums of each for at most 2^24"
            )
        # Allocate before checking, because allocation may let another thread run.
        cdef Ledger new = None
        if self.cells is None or (self.cells.size != size and not growing):
            new = Ledger(size, False, growing)
        if self.cells is None or (self.cells.size != size and not growing and self.cells.is_zero()):
            self.cells = new
        elif growing:
            self.cells.grow(max(size, self.cells.size))
        elif self.cells.size != size:
            raise InputError(
                "other", f"a state of {self.cells.size} cells and one of {size} do not add up", location=""
            )
        return self.cells

    cdef Ledger buckets_of(self, Py_ssize_t size):
        cdef Ledger new = Ledger(size, False, BUCKETS) if self.buckets is None else None
        if self.buckets is None:
            self.buckets = new
        if self.buckets.size < size:
            self.buckets.grow(size)
        return self.buckets

    cdef Ledger tail_of(self):
        cdef Ledger new = Ledger(TAIL) if self.tail is None else None
        if self.tail is None:
            self.tail = new
        return self.tail

    cdef Ledger calibration_of(self, Py_ssize_t size):
        cdef Ledger new = Ledger(size, False, 1) if self.calibration_sums is None else None
        if self.calibration_sums is None:
            self.calibration_sums = new
        if self.calibration_sums.size < size:
            self.calibration_sums.grow(size)
        return self.calibration_sums

    cdef ClassShares shares_of(self, Py_ssize_t lanes):
        """Return the sums by class of rows of so many lanes, for a calibration that has its cells."""
        cdef ClassShares new = ClassShares(lanes) if self.shares is None or self.shares.lanes != lanes else None
        if self.shares is None or self.shares.lanes != lanes:
            self.settle()
            self.shares = new
        return self.shares

    cdef int settle(self) except -1:
        """Add the sums by class to the ledger of the calibration, before that is read."""
        if self.shares is not None:
            self.shares.flush(self.calibration_sums)
            self.shares = None
        return 0

    @property
    def calibration(self) -> Ledger | None:
        """The ledger of the calibration."""
        with cython.critical_section(self):
            self.settle()
            return self.calibration_sums

    cdef bint mixes_clustering(self, bint clusters) noexcept:
        """Return whether an addition would mix clustered and unclustered samples."""
        cdef bint ours = self.buckets is not None and not self.buckets.is_zero()
        return ours != clusters and self.has_samples()

    cdef bint has_samples(self) noexcept:
        """Return whether a ratio has samples. The first one has none if all sequences are empty."""
        cdef Py_ssize_t ratio
        for ratio in range(self.total.size):
            if self.total.value(SAMPLES, ratio) != 0:
                return True
        return False

    cdef int add(self, State other, int sign) except -1:
        """Add sign * other, or raise an error and add nothing. No other thread may change ``other``."""
        cdef Ledger cells = None
        cdef Ledger buckets = None
        cdef Ledger tail = None
        cdef Ledger calibration = None
        cdef ClassShares shares = None
        cdef int full
        with cython.critical_section(self):
            if (
                (self.buckets is not None or other.buckets is not None) and other.has_samples()
                and self.mixes_clustering(other.buckets is not None and not other.buckets.is_zero())
            ):
                raise mixed_clusters()
            # Create and grow the ledgers first, because this can fail and must not leave a partial sum.
            if other.cells is not None and not other.cells.is_zero():
                cells = self.cells_of(other.cells.size, other.cells.size_quantum != 0)
            if other.buckets is not None:
                buckets = self.buckets_of(other.buckets.size)
            if other.tail is not None:
                tail = self.tail_of()
            if other.calibration_sums is not None:
                calibration = self.calibration_of(other.calibration_sums.size)
            if other.shares is not None and sign > 0 and joint(self.bound, other.bound) != ALL_FULL:
                shares = self.shares_of(other.shares.lanes)
                shares.reserve(other.shares)
            else:  # all integers are checked
                other.settle()
                self.settle()
            if self.total.size < other.total.size:
                self.total.grow(other.total.size)
            full = self.total.overflow(other.total, sign)
            if full < 0 and cells is not None:
                full = cells.overflow(other.cells, sign)
            if full < 0 and buckets is not None:
                full = buckets.overflow(other.buckets, sign)
            if full < 0 and tail is not None:
                full = tail.overflow(other.tail, sign)
            if full < 0 and calibration is not None:
                full = calibration.overflow(other.calibration_sums, sign)
            if full >= 0:
                raise beyond(full)
            self.total.merge_from(other.total, sign)
            if cells is not None:
                cells.merge_from(other.cells, sign)
            if buckets is not None:
                buckets.merge_from(other.buckets, sign)
            if tail is not None:
                tail.merge_from(other.tail, sign)
            if calibration is not None:
                calibration.merge_from(other.calibration_sums, sign)
            if shares is not None:
                shares.merge_from(other.shares, calibration)
            self.bound = joint(self.bound, other.bound)
            if self.bound == ALL_FULL:
                self.measure()
        return 0

    cdef void measure(self) noexcept:
        """Compute the bound from the counters of all ledgers."""
        cdef Ledger ledger
        self.bound = 0
        for ledger in (self.total, self.cells, self.buckets, self.tail, self.calibration_sums):
            if ledger is not None:
                self.bound = max(self.bound, ledger.bound())

    def merge(self, State other not None, int sign=1) -> None:
        """Add another state, or subtract it if ``sign`` is -1."""
        self.add(other.copy(), 1 if sign > 0 else -1)

    def is_clustered(self) -> bool | None:
        """Return whether the samples have clusters, None without samples."""
        with cython.critical_section(self):
            if not self.has_samples():
                return None
            return self.buckets is not None and not self.buckets.is_zero()

    def is_zero(self) -> bool:
        """Return whether all integers are 0."""
        cdef Ledger ledger
        with cython.critical_section(self):
            self.settle()
            for ledger in (self.total, self.cells, self.buckets, self.tail, self.calibration_sums):
                if ledger is not None and not ledger.is_zero():
                    return False
        return True

    def copy(self) -> State:
        cdef State new
        with cython.critical_section(self):
            self.settle()
            new = State()
            new.total, new.bound = self.total.copy(), self.bound
            new.cells = None if self.cells is None else self.cells.copy()
            new.buckets = None if self.buckets is None else self.buckets.copy()
            new.tail = None if self.tail is None else self.tail.copy()
            new.calibration_sums = None if self.calibration_sums is None else self.calibration_sums.copy()
        return new

    def select(self, bint cells, bint tail, bint calibration, Py_ssize_t ratios) -> State:
        """Return a state with some of the ledgers of this one. No other thread may change this state."""
        cdef State new = State()
        new.total, new.bound = first_of(self.total, ratios), self.bound
        new.cells = self.cells.copy() if cells and self.cells is not None else None
        new.buckets = first_of(self.buckets, BUCKETS * ratios) if self.buckets is not None else None
        new.tail = self.tail.copy() if tail and self.tail is not None else None
        if calibration and self.calibration is not None:
            new.calibration_sums = self.calibration_sums.copy()
        return new

    def with_mean(self, State other not None) -> State:
        """Return a copy with the first ratio of another state of as many losses. Both are unchanged meanwhile."""
        cdef State new = self.copy()
        new.total = with_first_of(new.total, other.total, 1)
        if other.buckets is not None:
            new.buckets = with_first_of(new.buckets, other.buckets, BUCKETS)
        new.bound = max(new.bound, other.bound)
        return new

    # ---- bytes ----

    def parts(self) -> dict[str, bytes]:
        """Return the bytes of the ledgers that are not 0, by name."""
        cdef State copy = self.copy()
        ledgers = {
            "buckets": copy.buckets, "calibration": copy.calibration_sums, "cells": copy.cells, "tail": copy.tail,
            "total": copy.total,
        }
        return {
            name: (<Ledger>ledger).to_bytes()
            for name, ledger in ledgers.items() if ledger is not None and not (<Ledger>ledger).is_zero()
        }

    @staticmethod
    def from_parts(dict parts, Py_ssize_t ratios=1, bint growing=False) -> State:
        """Return the state whose ``parts()`` are given. Raise a ValueError if they are malformed."""
        cdef State state = State()
        for name, part in parts.items():
            if name == "total":
                state.total = Ledger.from_bytes(part, 1)
            elif name == "cells":
                state.cells = Ledger.from_bytes(part, growing)
            elif name == "buckets":
                state.buckets = Ledger.from_bytes(part, BUCKETS)
            elif name == "tail":
                state.tail = Ledger.from_bytes(part)
            elif name == "calibration":
                state.calibration_sums = Ledger.from_bytes(part, 1)
            else:
                raise ValueError(f"it has a part {name!r}")
        if (
            state.total.size > ratios or (state.buckets is not None and state.buckets.size > BUCKETS * ratios)
            or (state.tail is not None and state.tail.size != TAIL)
        ):
            raise ValueError("its ledgers have other sizes")
        state.measure()
        return state


cdef Ledger with_first_of(Ledger source, Ledger first, Py_ssize_t size):
    """Return a ledger whose first cells are those of ``first``, followed by the others of ``source``, if any."""
    cdef Ledger new = first_of(first, size)
    cdef Py_ssize_t cell
    if source is not None and source.size > size:
        new.grow(source.size)
        for cell in range(size, source.size):
            new.add_cell(cell, source, cell)
    return new


cdef Ledger first_of(Ledger source, Py_ssize_t size):
    """Return a ledger of the first cells of another."""
    cdef Ledger new = Ledger(min(size, source.size), False, source.size_quantum)
    cdef Py_ssize_t cell
    for cell in range(new.size):
        new.add_cell(cell, source, cell)
    return new
