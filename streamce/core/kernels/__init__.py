"""Loops over arrays of numbers, in plain C: exponentials, logarithms, softmax, exact sums.

Pointers to floats, doubles and integers come in, and numbers go out. A kernel gives the same bits on every machine. The
note at the head of ``kernels.h`` explains how.

    kernels.h           the table of kernels, one pointer for each
    body.h              the code for one instruction set; it includes rows.h, elements.h, gradients.h ...
    sse2.c, avx2.c ...  the body, compiled for each instruction set
    dispatch.c          chooses the table for this machine
    control.h           the floating-point mode that all kernels need
    kernels.pyx         the table for Cython, and the floating-point mode for Python

This stage imports nothing.
"""
