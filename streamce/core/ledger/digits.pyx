"""The integers of cells as signed digits of fixed number, which any system can add.

A digit is balanced: from -2^31 to 2^31 - 1, with the value 2^32 of the next one. Sums of up to 2^32 - 1 digits fit into
64 bits, so they can be added without carries. Reading a cell does the carries.
"""

from libc.stdint cimport int64_t, uint64_t

from streamce.core.ledger.ledger cimport COLUMNS, Ledger, cell_needs, counter_add, page, sum_add_words

from streamce.core.ledger.ledger import NAMES, range_of

cdef enum:
    SUMS = 5
    SUM_DIGITS = 68  # the sum of 2^62 squares of the largest double is below 2^2160 units of 2^-1074
    COUNTER_DIGITS = 2
    CELL_DIGITS = SUMS * SUM_DIGITS + (COLUMNS - SUMS) * COUNTER_DIGITS
    WORDS = SUM_DIGITS // 2 + 1  # of a sum of digits

DIGITS = CELL_DIGITS
# The column of each digit of a cell, and its place in the column, lowest first.
COLUMN_OF_DIGIT = tuple(
    column for column in range(COLUMNS) for _ in range(SUM_DIGITS if column < SUMS else COUNTER_DIGITS)
)
PLACE_OF_DIGIT = tuple(
    place for column in range(COLUMNS) for place in range(SUM_DIGITS if column < SUMS else COUNTER_DIGITS)
)

cdef int64_t HALF = <int64_t>1 << 31
cdef int64_t MASK = 0xFFFFFFFF
cdef int64_t LARGEST_COUNT = <int64_t>1 << 62


def write(Ledger ledger not None, const int64_t[::1] numbers, int64_t[:, ::1] out) -> None:
    """Write the digits of cells, given by their numbers, to the rows of ``out``. Raise OverflowError if one has more.

    A cell beyond the ledger is 0. No other thread may change the ledger.
    """
    cdef Py_ssize_t i, cell
    cdef int beyond
    cdef page* p
    if out.shape[0] != numbers.shape[0] or out.shape[1] != CELL_DIGITS:
        raise ValueError("out has another shape")
    for i in range(numbers.shape[0]):
        cell = numbers[i]
        if not 0 <= cell < ledger.size:
            out[i, :] = 0
            continue
        p = ledger.page_of(&cell)
        beyond = write_cell(p, cell, &out[i, 0])
        if beyond >= 0:
            limit = 32 * SUM_DIGITS - 1 - 1074
            raise OverflowError(f"{NAMES[beyond]} is beyond 2^{limit}, the most that {SUM_DIGITS} digits hold")


cdef int write_cell(const page* p, Py_ssize_t cell, int64_t* out) noexcept nogil:
    """Write the digits of a cell. Return -1, or the column that has more digits."""
    cdef const uint64_t* words = NULL
    cdef int first = 0, column, width, i, half
    cdef int64_t digit, carry
    cdef uint64_t word, sign
    for column in range(COLUMNS):
        width = cell_needs(p, cell, column, &words, &first)
        if column >= SUMS:
            digit = <int64_t>words[0] if width else 0
            out[0] = ((digit + HALF) & MASK) - HALF
            out[1] = (digit - out[0]) >> 32
            out += COUNTER_DIGITS
            continue
        if first + width > SUM_DIGITS // 2 and width:
            return column
        sign = 0 - (words[width - 1] >> 63) if width else 0
        carry = 0
        for i in range(SUM_DIGITS // 2):
            word = 0 if i < first or not width else words[i - first] if i < first + width else sign
            for half in range(2):
                digit = <int64_t>(word >> 32 * half & <uint64_t>MASK) + carry
                carry = digit >= HALF
                out[2 * i + half] = digit - (carry << 32)
        if carry != <int64_t>(sign & 1):
            return column
        out += SUM_DIGITS
    return -1


def read(Ledger ledger not None, const int64_t[::1] numbers, const int64_t[:, ::1] sums) -> None:
    """Set cells that are 0, given by their numbers, to sums of digits. Raise OverflowError if a counter has no room.

    No other thread may use the ledger.
    """
    cdef Py_ssize_t i, cell
    cdef int beyond
    cdef page* p
    if sums.shape[0] != numbers.shape[0] or sums.shape[1] != CELL_DIGITS:
        raise ValueError("sums has another shape")
    for i in range(numbers.shape[0]):
        cell = numbers[i]
        if not 0 <= cell < ledger.size:
            raise IndexError(cell)
        p = ledger.page_of(&cell)  # changes the number of the cell
        beyond = read_cell(p, cell, &sums[i, 0])
        if beyond == -2:
            raise MemoryError
        if beyond >= 0:
            raise OverflowError(f"{NAMES[beyond]} is beyond {range_of(beyond)}")


cdef int read_cell(page* p, Py_ssize_t cell, const int64_t* digits) noexcept nogil:
    """Add sums of digits to a cell that is 0. Return -1, -2 if memory runs out, or the column that is out of range."""
    cdef uint64_t[WORDS] words
    cdef int column, i, first, width
    cdef int64_t carry, low, number
    for column in range(COLUMNS):
        if column >= SUMS:
            # Compare the high digit first, because the number may not fit into 64 bits.
            number = digits[1] + (digits[0] >> 32)
            if number > LARGEST_COUNT >> 32 or number < -(LARGEST_COUNT >> 32):
                return column
            number = number * (MASK + 1) + (digits[0] & MASK)
            if number > LARGEST_COUNT or number < -LARGEST_COUNT:
                return column
            if counter_add(p, cell, column, number) < 0:
                return -2
            digits += COUNTER_DIGITS
            continue
        carry = 0
        for i in range(SUM_DIGITS):
            low = (digits[i] & MASK) + (carry & MASK)
            carry = (digits[i] >> 32) + (carry >> 32) + (low >> 32)
            if i % 2:
                words[i // 2] |= <uint64_t>(low & MASK) << 32
            else:
                words[i // 2] = <uint64_t>(low & MASK)
        words[WORDS - 1] = <uint64_t>carry
        digits += SUM_DIGITS
        first = 0
        width = WORDS
        while width > 1 and words[width - 1] == 0 - (words[width - 2] >> 63):
            width -= 1
        while first < width and words[first] == 0:
            first += 1
        if first < width and sum_add_words(p, cell, column, &words[first], first, width - first, 1) < 0:
            return -2
    return -1
