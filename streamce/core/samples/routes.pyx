"""Where the samples of a batch go: each to the state of its code."""

from libc.stdint cimport int64_t

from streamce.core.ledger.state cimport State

import numpy as np

from streamce.inputs import messages


cdef class Routes:
    """A state for each code, and the code of each sample.

    A state is None until a sample has its code. Without codes, each sample has its own. With ``factor``, n and d of
    each sample are multiplied by the factor of the sample.
    """

    def __init__(
        self, const int64_t[::1] codes=None, Py_ssize_t count=0, str argument="by", const double[::1] factor=None
    ):
        self.states = [None] * count
        self.codes = codes
        self.factor = factor
        self.argument = argument

    @property
    def size(self) -> int:
        """The number of samples."""
        return self.codes.shape[0]

    @property
    def numbers(self):
        """The code of each sample, as an array."""
        return np.asarray(self.codes)

    def filled(self) -> list[State]:
        """Return the state of each code."""
        return [State() if state is None else state for state in self.states]

    cpdef Routes fresh(self):
        """Return the same routes with no samples yet."""
        return Routes(self.codes, len(self.states), self.argument, self.factor)

    @property
    def factors(self):
        """The factor of each sample, as an array, or None."""
        return None if self.factor is None else np.asarray(self.factor)

    def check(self, Py_ssize_t samples) -> None:
        """Raise an InputError unless each sample has a code."""
        if self.codes is None:
            self.codes = np.arange(samples)
            self.states = [None] * samples
        if self.codes.shape[0] != samples:
            raise messages.key_length(self.argument, self.codes.shape[0], samples)

    cdef State of(self, Py_ssize_t sample):
        """Return the state of a sample."""
        cdef Py_ssize_t code = self.codes[sample] if self.codes is not None else 0
        cdef State state = self.states[code]
        if state is None:
            state = self.states[code] = State()
        return state

    cdef int add(self, Routes other) except -1:
        """Add the states of the same codes. They must have room."""
        cdef Py_ssize_t code
        cdef State ours, theirs
        for code in range(len(self.states)):
            ours, theirs = self.states[code], other.states[code]
            if ours is None:
                self.states[code] = theirs
            elif theirs is not None:
                ours.add(theirs, 1)
        return 0


cdef Routes to_one(State state):
    """Return routes of all samples to one state."""
    cdef Routes routes = Routes(None, 1)
    routes.states[0] = state
    return routes
