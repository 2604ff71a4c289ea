"""Runs a batch block by block, and in parts that threads share if it is large.

A batch of one block is added at once. A longer batch is divided into parts. Each part is added to a new state without
holding a lock, and these states are merged at the end. Nothing is added to the metric before the whole batch is known
to be valid. The error is that of the first invalid loss, whichever thread finds one first.
"""

cimport cython
from libc.math cimport INFINITY, NAN
from libc.stdlib cimport free

from streamce.core.kernels.kernels cimport fp_enter, fp_leave
from streamce.core.ledger.ledger cimport Ledger
from streamce.core.ledger.state cimport State
from streamce.core.losses.batch cimport Batch
from streamce.core.losses.evaluate_block cimport evaluate_block
from streamce.core.losses.gradients cimport add_divisors
from streamce.core.losses.workspace cimport Workspace, allocate, block_size
from streamce.core.pipeline.accumulate cimport accumulate_block, accumulate_by_route, reserve
from streamce.core.samples.routes cimport Routes, to_one
from streamce.core.samples.status cimport IGNORED

from functools import partial

from streamce._support.rational import quotient
from streamce._support.threads import limit, run

# Minimum number of predictions per thread.
cdef Py_ssize_t MIN_PREDS_PER_THREAD = 1 << 18
# A smaller batch is finished before another thread could take the interpreter lock.
cdef Py_ssize_t MIN_PREDS_TO_RELEASE_GIL = 1 << 12
# Scratch memory on the stack for small batches, because an allocation would take longer than the batch.
cdef enum:
    STACK_BYTES = 1 << 13


cdef bint add_at_once(State state, Batch b) except -1:
    """Add a batch of one block, or find an invalid loss and add nothing.

    Add nothing and return False if there are more losses, or if the state is so full that each integer must be checked.
    """
    cdef Workspace w
    cdef char[STACK_BYTES] stack_buffer
    cdef unsigned long long saved
    # A few rows with very many classes are one block, but they are worth two threads.
    if b.losses > block_size(b) or b.losses * b.preds.v.classes >= 2 * MIN_PREDS_PER_THREAD:
        return False
    if b.losses == 0:
        return True
    if allocate(&w, b, b.losses, stack_buffer, STACK_BYTES) < 0:
        raise MemoryError
    try:
        if b.losses * b.preds.v.classes < MIN_PREDS_TO_RELEASE_GIL:
            evaluate_and_check(b, &w)
        else:
            with nogil:
                evaluate_and_check(b, &w)
        if b.first_invalid_index >= 0:
            return True
        with cython.critical_section(state):
            if not state.takes(b.losses):
                return False
            saved = fp_enter()
            try:
                reserve(b, state)
                accumulate_block(b, &w, 0, b.losses, state)
            finally:
                fp_leave(saved)
    finally:
        free(w.memory)
    return True


cdef void evaluate_and_check(Batch b, Workspace* w) noexcept nogil:
    """Evaluate a batch of one block, and find its first invalid loss."""
    cdef unsigned long long saved = fp_enter()
    evaluate_block(b, w, 0, b.losses)
    fp_leave(saved)
    b.first_invalid_index = first_invalid(b, w, b.losses)
    if b.first_invalid_index >= 0:
        b.invalid_status = w.status[b.first_invalid_index]


cdef Py_ssize_t first_invalid(Batch b, Workspace* w, Py_ssize_t k) noexcept nogil:
    """Return the first invalid loss of a block, or -1."""
    cdef Py_ssize_t i
    if w.odd and not b.skips:
        for i in range(k):
            if w.status[i] > IGNORED:
                return i
    return -1


cdef Routes run_in_parts(Batch b, threads):
    """Return states with a batch of any size. If a loss is invalid, find the first one and return None."""
    cdef Routes merged
    results = parts_of(b, threads, False)
    errors = [error for error, _ in results if error is not None]
    if errors:
        b.first_invalid_index, b.invalid_status = min(errors)
        return None
    merged = results[0][1]
    for _, part in results[1:]:
        merged.add(part)
    return merged


cdef double sum_of_weights(Batch b, threads) except? -1:
    """Return the exact sum of d, rounded once, or NaN if it is 0."""
    if b.unit_weight and not b.spec.ignores and not b.has_status:
        return b.losses if b.losses else NAN
    cdef Ledger total = Ledger(1)
    cdef Routes part
    for _, part in parts_of(b, threads, True):
        total.merge_from(part.of(0).total, 1)
    if total.integer("n+inf"):
        return INFINITY
    return quotient(total.integer("n"), 1 << 1074) if total.integer("n") else NAN


cdef list parts_of(Batch b, threads, bint weights_only):
    """Return the results of all parts. Large batches use several threads."""
    cdef Py_ssize_t i, parts = 1
    cdef Py_ssize_t predictions = b.losses * b.preds.v.classes
    if predictions >= 2 * MIN_PREDS_PER_THREAD:
        parts = min(limit(threads), predictions // MIN_PREDS_PER_THREAD, b.samples)
    if parts == 1:
        return [run_part(b, weights_only, 0, b.samples)]
    bounds = [b.samples * i // parts for i in range(parts + 1)]
    if b.offsets is not NULL:
        bounds = [b.sample_of(b.losses * i // parts) for i in range(parts)] + [b.samples]
    return run([partial(run_part, b, weights_only, start, stop) for start, stop in zip(bounds, bounds[1:])])


def run_part(Batch b, bint weights_only, Py_ssize_t start, Py_ssize_t stop):
    """Run samples start ... stop - 1. Return (error, routes). An error is the index and status of an invalid loss.

    With ``weights_only``, the sum of n is that of d. Predictions are not read, and there are no errors.
    """
    cdef State one = None if b.routes is not None else State()
    cdef State state
    cdef Routes part = to_one(one) if one is not None else b.routes.fresh()
    cdef Workspace w
    cdef Py_ssize_t at = b.offsets[start] if b.offsets is not NULL else start * b.group
    cdef Py_ssize_t end = b.offsets[stop] if b.offsets is not NULL else stop * b.group
    cdef Py_ssize_t k
    cdef Py_ssize_t invalid = -1
    cdef unsigned long long saved
    cdef Py_ssize_t losses = end - at
    if one is not None:
        reserve(b, one)
    if allocate(&w, b, end - at, NULL, 0) < 0:
        raise MemoryError
    w.sample = start
    try:
        with nogil:
            saved = fp_enter()
            try:
                while at < end:
                    k = min(block_size(b), end - at)
                    if weights_only:
                        add_divisors(b, &w, at, k, one.total)
                    else:
                        evaluate_block(b, &w, at, k)
                        invalid = first_invalid(b, &w, k)
                        if invalid >= 0:
                            break
                        if one is not None:
                            accumulate_block(b, &w, at, k, one)
                        else:
                            with gil:
                                accumulate_by_route(b, &w, at, k, part)
                    at += k
            finally:
                fp_leave(saved)
        for state in part.states:
            if state is not None:
                state.bound = losses
        return ((at + invalid, w.status[invalid]) if invalid >= 0 else None), part
    finally:
        free(w.memory)
