"""The views and factors of a batch, and the scratch memory that its blocks are worked on in."""

from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from streamce.core.kernels.kernels cimport BLOCK, TILE

# Rows * classes that are read at a time, to find them in the cache when they are read again: where
# they lie, or gathered, converted or spread into scratch memory.
cdef Py_ssize_t IN_PLACE = 16384
cdef Py_ssize_t COPIED = 4096
# Elements that are worked on at a time, while as many are on their way from memory.
cdef Py_ssize_t FEW = 512
# Beyond, the bytes of a row's scratch memory are no Py_ssize_t.
cdef Py_ssize_t MOST_CLASSES = 1 << 48


cdef class Vector:
    """Doubles of our own: class weights, factors."""

    def __cinit__(self, Py_ssize_t size, double value=0.0):
        cdef Py_ssize_t i
        self.size = size
        self.at = <double*>malloc(max(1, size) * sizeof(double))
        if self.at is NULL:
            raise MemoryError
        for i in range(size):
            self.at[i] = value

    def __dealloc__(self):
        free(self.at)


cdef class Blocks:
    """A chunk's views and factors; the pipeline sets them."""

    cdef Py_ssize_t cells(self) noexcept nogil:
        """Labels, classes or positions: what can be summed one by one."""
        cdef Py_ssize_t i, longest = self.group
        if self.by_position:
            for i in range(self.samples if self.offsets is not NULL else 0):
                longest = max(longest, self.offsets[i + 1] - self.offsets[i])
            return max(<Py_ssize_t>1, longest)
        return self.labels if self.r.task == MULTILABEL else self.preds.v.classes

    cdef Py_ssize_t at_a_time(self) noexcept nogil:
        """Losses a block: whole samples of several labels, so that blocks share their factors."""
        return BLOCK // self.labels * self.labels if self.labels <= BLOCK else BLOCK

    cdef Py_ssize_t step(self) noexcept nogil:
        """Losses that are worked on while the next ones come from memory."""
        if self.r.task == MEAN:
            return BLOCK
        if self.r.task != MULTICLASS:
            return FEW
        cdef bint copied = not in_place(&self.preds.v, self.single) or (
            not self.hard and not in_place(&self.target.v, self.single)
        )
        cdef Py_ssize_t wide = COPIED if copied or self.base is not None or self.calibrates else IN_PLACE
        cdef Py_ssize_t some = max(<Py_ssize_t>1, wide // self.preds.v.classes)
        return min(<Py_ssize_t>BLOCK, some - some % TILE if some > TILE else some)

    cdef int make(self, work* w, Py_ssize_t losses, char* near, Py_ssize_t size) noexcept nogil:
        """Scratch memory for blocks: bounded whatever the chunk, except by one row's classes.

        ``near`` is used where its size will do; else ``w.memory`` is what to free in the end.
        """
        cdef Py_ssize_t room = max(<Py_ssize_t>1, min(self.at_a_time(), losses))
        cdef bint rows = self.r.task == MULTICLASS
        cdef bint soft = rows and not self.hard
        cdef bint factors = not rows and not self.plain
        cdef Py_ssize_t line = line_of(room)
        cdef Py_ssize_t step = min(room, self.step())
        cdef Py_ssize_t short_line = line_of(step)
        cdef Py_ssize_t wide = line_of(step * self.preds.v.classes)
        cdef Py_ssize_t copied, copied_target, spread, slopes, calibration, costs, chances, bytes
        cdef char* at = near
        memset(w, 0, sizeof(work))
        if self.preds.v.classes > MOST_CLASSES:
            return -1
        w.room = room
        w.phase = -1
        w.step = step
        copied = wide if rows and not in_place(&self.preds.v, self.single) else 0
        copied_target = wide if soft and not in_place(&self.target.v, self.single) else 0
        spread = wide if rows and self.base is not None else short_line
        slopes = wide if self.gradient is not None else 0
        calibration = line if self.calibrates else 0
        costs = wide if self.calibrates and rows else 0
        w.kept = self.preds.v.classes if self.splits else 0
        chances = line_of(room * w.kept) if self.splits else costs
        bytes = (
            11 * line + 7 * short_line + 4 * factors * line + 3 * (copied + copied_target) + (1 + soft) * spread
            + 4 * slopes + 7 * calibration + costs + chances + 64
        )
        if bytes > size:
            at = w.memory = <char*>malloc(bytes)
            if at is NULL:
                return -1
        at += 64 - <Py_ssize_t>at % 64
        w.n = <double*>cut(&at, line)
        w.d = <double*>cut(&at, line)
        w.cost = <double*>cut(&at, short_line) if not self.plain else w.n
        w.m = <double*>cut(&at, short_line)
        w.u = <double*>cut(&at, short_line)
        w.soft = <double*>cut(&at, short_line)
        w.gap = <double*>cut(&at, short_line)
        w.dot = <double*>cut(&at, short_line)
        w.weight = <double*>cut(&at, line)
        w.sample_n = <double*>cut(&at, line)
        w.sample_d = <double*>cut(&at, line)
        w.label = <int64_t*>cut(&at, line)
        w.offset = <Py_ssize_t*>cut(&at, line)
        w.status = <uint8_t*>cut(&at, line)
        w.flags = <uint8_t*>cut(&at, line)
        w.factor = <double*>cut(&at, 4 * factors * line)  # not there where it is not used
        w.raw = cut(&at, line)
        w.floats = cut(&at, line)
        w.preds = cut_rows(&at, copied)
        w.targets = cut_rows(&at, copied_target)
        w.spread = <double*>cut(&at, spread)
        w.share = <double*>cut(&at, soft * spread)
        w.others = <double*>cut(&at, short_line)
        w.slopes = cut(&at, slopes)
        w.shares = cut(&at, slopes)
        w.narrowed = cut(&at, slopes)
        w.packed = cut(&at, slopes)
        if self.calibrates:
            w.expected = <double*>cut(&at, calibration)
            w.excess = <double*>cut(&at, calibration)
            w.variance = <double*>cut(&at, calibration)
            w.confidence = <double*>cut(&at, calibration)
            w.rest = <double*>cut(&at, calibration)
            w.outcome = <double*>cut(&at, calibration)
            w.top = <int64_t*>cut(&at, calibration)
            w.costs = <double*>cut(&at, costs)
            w.chances = <double*>cut(&at, chances)
        return 0


cdef work work_from(const work* w, Py_ssize_t first) noexcept nogil:
    """The scratch memory of a few losses, from `first` on; what only they need is used again and again."""
    cdef work few = w[0]
    few.odd = few.flagged = False
    if w.cost == w.n:
        few.cost += first
    few.n += first
    few.d += first
    few.label += first
    if few.weights is not NULL:
        few.weights += first
    few.status += first
    few.flags += first
    few.factor += first
    if w.expected is not NULL:
        few.expected += first
        few.excess += first
        few.variance += first
        few.confidence += first
        few.rest += first
        few.outcome += first
        few.top += first
        few.chances += first * w.kept
    return few


cdef Py_ssize_t line_of(Py_ssize_t values) noexcept nogil:
    """The bytes of so many doubles, in whole cache lines."""
    return (8 * values + 63) // 64 * 64


cdef rows_scratch cut_rows(char** memory, Py_ssize_t bytes) noexcept nogil:
    cdef rows_scratch pieces
    pieces.raw = cut(memory, bytes)
    pieces.floats = cut(memory, bytes)
    pieces.doubles = <double*>cut(memory, bytes)
    return pieces


cdef char* cut(char** memory, Py_ssize_t bytes) noexcept nogil:
    """The next piece of an allocation."""
    cdef char* piece = memory[0]
    memory[0] += bytes
    return piece
