"""The scratch memory for the blocks of a batch."""

from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport malloc
from libc.string cimport memset

from streamce.core.kernels.kernels cimport BLOCK, TILE
from streamce.core.losses.batch cimport Batch
from streamce.core.losses.loss_spec cimport MEAN, MULTICLASS

# Rows * classes of a tile, small enough to be in the cache when they are read again. The limits are for rows that are
# read in place, and for rows that are gathered, converted or spread into scratch memory.
cdef Py_ssize_t IN_PLACE = 16384
cdef Py_ssize_t COPIED = 4096
# Elements of a tile. The next tile is prefetched meanwhile.
cdef Py_ssize_t ELEMENTS_PER_TILE = 512
# With more classes, the size of a row's scratch memory could overflow Py_ssize_t.
cdef Py_ssize_t MAX_CLASSES = 1 << 48


cdef Py_ssize_t block_size(Batch b) noexcept nogil:
    """Return the losses of a block, which are whole samples of all labels, so that blocks share their factors."""
    return BLOCK // b.labels * b.labels if b.labels <= BLOCK else BLOCK


cdef Py_ssize_t tile_size(Batch b) noexcept nogil:
    """Return the losses of a tile."""
    if b.spec.task == MEAN:
        return BLOCK
    if b.spec.task != MULTICLASS:
        return ELEMENTS_PER_TILE
    cdef bint copied = not in_place(&b.preds.v, b.is_float32) or (
        not b.has_integer_targets and not in_place(&b.target.v, b.is_float32)
    )
    cdef Py_ssize_t wide = COPIED if copied or b.base is not None or b.widens_probs else IN_PLACE
    cdef Py_ssize_t losses = max(<Py_ssize_t>1, wide // b.preds.v.classes)
    return min(<Py_ssize_t>BLOCK, losses - losses % TILE if losses > TILE else losses)


cdef int allocate(Workspace* w, Batch b, Py_ssize_t losses, char* stack_buffer, Py_ssize_t size) noexcept nogil:
    """Allocate scratch memory for blocks. Return -1 if memory runs out.

    Its size does not depend on that of the batch, only on the number of classes. ``stack_buffer`` is used if it is
    large enough. Otherwise the caller must free ``w.memory``.
    """
    cdef Py_ssize_t capacity = max(<Py_ssize_t>1, min(block_size(b), losses))
    cdef bint rows = b.spec.task == MULTICLASS
    cdef bint soft = rows and not b.has_integer_targets
    cdef bint factors = not rows and not b.cost_only
    cdef Py_ssize_t line = padded_bytes(capacity)
    cdef Py_ssize_t step = min(capacity, tile_size(b))
    cdef Py_ssize_t short_line = padded_bytes(step)
    cdef Py_ssize_t wide = padded_bytes(step * b.preds.v.classes)
    cdef Py_ssize_t copied, copied_target, spread, slopes, calibration, costs, bytes
    cdef Py_ssize_t chances = 0
    cdef char* at = stack_buffer
    memset(w, 0, sizeof(Workspace))
    if b.preds.v.classes > MAX_CLASSES:
        return -1
    w.capacity = capacity
    w.phase = -1
    w.step = step
    copied = wide if rows and not in_place(&b.preds.v, b.is_float32) else 0
    copied_target = wide if soft and not in_place(&b.target.v, b.is_float32) else 0
    spread = wide if rows and b.base is not None else short_line
    slopes = wide if b.gradient is not None else 0
    calibration = line if b.breakdowns.calibration else 0
    costs = wide if b.widens_probs else padded_bytes(b.preds.v.classes) if b.breakdowns.calibration and rows else 0
    if b.tracks_class_probs:
        w.row_bytes = b.preds.v.classes * <Py_ssize_t>(sizeof(float) if b.is_float32 else sizeof(double))
        chances = padded_bytes(capacity * w.row_bytes // 8 + TILE)  # kernels read up to TILE - 1 values after a row
    bytes = (
        11 * line + 7 * short_line + 4 * factors * line + 3 * (copied + copied_target) + (1 + soft) * spread
        + 4 * slopes + 8 * calibration + costs + chances + 64
    )
    if bytes > size:
        at = w.memory = <char*>malloc(bytes)
        if at is NULL:
            return -1
    at += 64 - <Py_ssize_t>at % 64
    w.n = <double*>arena_take(&at, line)
    w.d = <double*>arena_take(&at, line)
    w.cost = <double*>arena_take(&at, short_line) if not b.cost_only else w.n
    at = lay_out_tile(w, at, short_line, spread, soft * spread)
    w.weight = <double*>arena_take(&at, line)
    w.sample_n = <double*>arena_take(&at, line)
    w.sample_d = <double*>arena_take(&at, line)
    w.label = <int64_t*>arena_take(&at, line)
    w.offset = <Py_ssize_t*>arena_take(&at, line)
    w.status = <uint8_t*>arena_take(&at, line)
    w.flags = <uint8_t*>arena_take(&at, line)
    w.factor = <double*>arena_take(&at, 4 * factors * line)  # empty if it is not used
    w.raw = arena_take(&at, line)
    w.floats = arena_take(&at, line)
    w.preds = arena_take_rows(&at, copied)
    w.targets = arena_take_rows(&at, copied_target)
    w.slopes = arena_take(&at, slopes)
    w.shares = arena_take(&at, slopes)
    w.narrowed = arena_take(&at, slopes)
    w.packed = arena_take(&at, slopes)
    if b.breakdowns.calibration:
        w.expected = <double*>arena_take(&at, calibration)
        w.excess = <double*>arena_take(&at, calibration)
        w.variance = <double*>arena_take(&at, calibration)
        w.confidence = <double*>arena_take(&at, calibration)
        w.rest = <double*>arena_take(&at, calibration)
        w.outcome = <double*>arena_take(&at, calibration)
        w.others = <double*>arena_take(&at, calibration)
        w.top = <int64_t*>arena_take(&at, calibration)
        w.costs = <double*>arena_take(&at, costs)
        w.chances = arena_take(&at, chances)
    return 0


cdef char* lay_out_tile(
    Workspace* w, char* at, Py_ssize_t line, Py_ssize_t classes, Py_ssize_t soft_classes
) noexcept nogil:
    """Lay out the scratch memory of a tile. Fields that are assigned together share their memory."""
    cdef ElementTile* e = &w.elements
    cdef RowTile* r = &w.rows
    e.cost_1 = e.share_1 = r.largest = <double*>arena_take(&at, line)
    e.cost_0 = e.share_0 = r.rest = r.total = r.row_factor = <double*>arena_take(&at, line)
    e.outcome = r.label_x = r.target_total = r.share_total = <double*>arena_take(&at, line)
    e.kernel = r.gaps = r.scale = r.share_factor = r.label_cost = <double*>arena_take(&at, line)
    r.target_gaps = r.base_factor = r.least_cost = <double*>arena_take(&at, line)
    r.plain_rest = <double*>arena_take(&at, line)
    e.x = r.class_cost = r.label_factor = <double*>arena_take(&at, classes)
    r.class_share = <double*>arena_take(&at, soft_classes)
    return at


cdef Workspace tile_of(const Workspace* w, Py_ssize_t first) noexcept nogil:
    """Return the scratch memory of the tile that begins with loss ``first``. All tiles share what only a tile needs."""
    cdef Workspace tile = w[0]
    tile.odd = tile.flagged = False
    if w.cost == w.n:
        tile.cost += first
    tile.n += first
    tile.d += first
    tile.label += first
    if tile.weights is not NULL:
        tile.weights += first
    tile.status += first
    tile.flags += first
    tile.factor += first
    if w.expected is not NULL:
        tile.expected += first
        tile.excess += first
        tile.variance += first
        tile.confidence += first
        tile.rest += first
        tile.outcome += first
        tile.others += first
        tile.top += first
        tile.chances += first * w.row_bytes
    return tile


cdef Py_ssize_t padded_bytes(Py_ssize_t values) noexcept nogil:
    """Return the bytes of ``values`` doubles, rounded up to cache lines."""
    return (8 * values + 63) // 64 * 64


cdef rows_scratch arena_take_rows(char** memory, Py_ssize_t bytes) noexcept nogil:
    cdef rows_scratch pieces
    pieces.raw = arena_take(memory, bytes)
    pieces.floats = arena_take(memory, bytes)
    pieces.doubles = <double*>arena_take(memory, bytes)
    return pieces


cdef char* arena_take(char** memory, Py_ssize_t bytes) noexcept nogil:
    """Return the next piece of an allocation."""
    cdef char* piece = memory[0]
    memory[0] += bytes
    return piece
