"""The updates of a metric of utterances (CTC). Their losses are added in the same way as other losses."""

from libc.stdint cimport uint8_t
from libc.stdlib cimport free
from libc.string cimport memset

from streamce.core.kernels.kernels cimport BLOCK, fp_enter, fp_leave, table
from streamce.core.ledger.state cimport State
from streamce.core.losses.precomputed cimport restore_losses
from streamce.core.losses.utterances cimport CTCOptions, Utterances
from streamce.core.losses.workspace cimport Workspace, allocate
from streamce.core.pipeline.accumulate cimport accumulate_by_route, accumulate_block, reserve
from streamce.core.samples.clusters cimport add_clusters, check_clusters
from streamce.core.samples.routes cimport Routes, to_one
from streamce.core.samples.samples cimport Samples
from streamce.core.samples.status cimport COUNTED


cdef class CTC(CTCOptions):
    """The options of a metric, and its updates."""

    def update(
        self, State state not None, Utterances batch not None, const uint8_t[::1] bucket=None, double[::1] losses=None,
        Routes routes=None,
    ) -> Samples:
        """Add a batch to ``state``, or to those of ``routes``, and return its samples. Write each loss to ``losses``.

        ``bucket`` is the bucket of each utterance's cluster, if there are clusters.
        """
        cdef unsigned long long saved = fp_enter()  # also for the conversion of inputs
        cdef Samples samples
        cdef Routes added
        try:
            batch.convert()
            batch.routes = routes
            batch.open_utterances(self)
            if batch.routes is not None:
                batch.routes.check(batch.samples)
            if bucket is not None or state.buckets is not None:
                check_clusters(state, batch.samples, batch.samples, bucket)
            batch.compute()
            added = states_of(batch)
            samples = batch.recorded
            if bucket is not None and batch.routes is not None and batch.routes.factor is not None:
                samples = samples.multiplied(batch.routes.factor)
            add_clusters(added, samples, bucket)
            if batch.routes is None:
                state.add(added.of(0), 1)
            else:
                batch.routes.add(added)
            batch.write(losses)
            batch.close()
            return samples
        except Exception:  # after KeyboardInterrupt, threads may still read the batch
            batch.close()
            raise
        finally:
            fp_leave(saved)


cdef Routes states_of(Utterances u):
    """Return states with the samples of a batch."""
    cdef State one = None if u.routes is not None else State()
    cdef State state
    cdef Routes to = to_one(one) if one is not None else u.routes.fresh()
    cdef Samples samples = u.recorded
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t k
    cdef Workspace w
    cdef unsigned long long saved
    u.recorded = None  # accumulate_block must not record them again
    if one is not None:
        reserve(u, one)
    if allocate(&w, u, u.samples, NULL, 0) < 0:
        raise MemoryError
    saved = fp_enter()
    try:
        while at < u.samples:
            k = min(<Py_ssize_t>BLOCK, u.samples - at)
            w.odd = w.flagged = False
            memset(w.status, COUNTED, k)
            memset(w.flags, 0, k)
            restore_losses(&w, samples, at, k)
            w.exponent = table().largest_exponent(w.n, k)
            if one is not None:
                accumulate_block(u, &w, at, k, one)
            else:
                accumulate_by_route(u, &w, at, k, to)
            at += k
    finally:
        fp_leave(saved)
        free(w.memory)
        u.recorded = samples
    for state in to.states:
        if state is not None:
            state.bound = u.samples
    return to
