"""Results of many cells at once: means, sums, standard errors and counters.

No other thread may change a ledger while it is read.
"""

from libc.stdint cimport int64_t, uint8_t

from streamce.core.ledger.ledger cimport COLUMNS, Ledger, counter_of, page


cdef extern from "results.h" nogil:
    int cell_mean(const page*, Py_ssize_t, double*) noexcept
    int cell_sum_and_error(const page*, Py_ssize_t, double*, double*) noexcept

cdef enum:
    SUMS = 5


def means(Ledger ledger not None) -> list[float | None]:
    """Return the mean loss of each cell, None for cells with infinite samples or other weights than 1."""
    cdef Py_ssize_t number, cell
    cdef double mean = 0
    cdef page* p
    found = []
    for number in range(ledger.size):
        cell = number
        p = ledger.page_of(&cell)
        found.append(mean if cell_mean(p, cell, &mean) else None)
    return found


def summarise(
    Ledger ledger not None, double[::1] mean, double[::1] total, double[::1] error, int64_t[:, ::1] counters,
    uint8_t[::1] known,
) -> None:
    """Write the results of each cell to arrays, whose first axis has the length of the ledger.

    ``mean`` and ``total`` are the mean and the sum of the losses, ``error`` is the standard error of the mean, and
    ``counters`` holds the counters in the order of the columns. ``known`` says whether the first three are known. They
    are not for cells with infinite samples, other weights than 1, or more samples subtracted than added.
    """
    cdef Py_ssize_t number, cell, n = ledger.size
    cdef int column
    cdef page* p
    if (
        mean.shape[0] != n or total.shape[0] != n or error.shape[0] != n or known.shape[0] != n
        or counters.shape[0] != n or counters.shape[1] != COLUMNS - SUMS
    ):
        raise ValueError("an array has another shape")
    with nogil:
        for number in range(n):
            cell = number
            p = ledger.page_of(&cell)
            for column in range(SUMS, COLUMNS):
                counters[number, column - SUMS] = counter_of(p, cell, column)
            known[number] = (
                cell_mean(p, cell, &mean[number]) and cell_sum_and_error(p, cell, &total[number], &error[number])
            )
