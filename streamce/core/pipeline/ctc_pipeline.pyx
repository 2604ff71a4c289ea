"""The updates of a metric of utterances (CTC). Their losses are added in the same way as other losses."""

from libc.stdint cimport uint8_t
from libc.stdlib cimport free
from libc.string cimport memset

from streamce.core.kernels.kernels cimport BLOCK, fp_enter, fp_leave, table
from streamce.core.ledger.state cimport State
from streamce.core.losses.precomputed cimport restore_losses
from streamce.core.losses.utterances cimport CTCOptions, Utterances
from streamce.core.losses.workspace cimport Workspace, allocate
from streamce.core.pipeline.accumulate cimport accumulate_block, reserve
from streamce.core.samples.clusters cimport add_clusters, check_clusters
from streamce.core.samples.samples cimport Samples
from streamce.core.samples.status cimport COUNTED


cdef class CTC(CTCOptions):
    """The options of a metric, and its updates."""

    def update(
        self, State state not None, Utterances batch not None, const uint8_t[::1] bucket=None, double[::1] losses=None
    ) -> Samples:
        """Add a batch to ``state``, and return its samples. Write each loss to ``losses`` if that is given.

        ``bucket`` is the bucket of each utterance's cluster, if there are clusters.
        """
        cdef unsigned long long saved = fp_enter()  # also for the conversion of inputs
        cdef Samples samples
        cdef State added
        try:
            batch.convert()
            batch.open_utterances(self)
            if bucket is not None or state.buckets is not None:
                check_clusters(state, batch.samples, batch.samples, bucket)
            batch.compute()
            added = state_of(batch)
            samples = batch.recorded
            add_clusters(added, samples, bucket)
            state.add(added, 1)
            batch.write(losses)
            batch.close()
            return samples
        except Exception:  # after KeyboardInterrupt, threads may still read the batch
            batch.close()
            raise
        finally:
            fp_leave(saved)


cdef State state_of(Utterances u):
    """Return a state with the samples of a batch."""
    cdef State to = State()
    cdef Samples samples = u.recorded
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t k
    cdef Workspace w
    cdef unsigned long long saved
    u.recorded = None  # accumulate_block must not record them again
    to.bound = u.samples
    reserve(u, to)
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
            accumulate_block(u, &w, at, k, to)
            at += k
    finally:
        fp_leave(saved)
        free(w.memory)
        u.recorded = samples
    return to
