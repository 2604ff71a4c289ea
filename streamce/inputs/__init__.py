"""Anything in, a NumPy array out, or an InputError that says why not.

In come the arguments of a user: lists, NumPy arrays, pandas, polars, Arrow, DLPack, torch. Each is converted once, by
the first function that meets it.

``arrays``   the conversion, and the checks of shapes
``interop``  arrays of other libraries: pandas, DLPack, Arrow's PyCapsule protocol
``arrow``    Arrow columns as NumPy arrays and masks of their nulls

Imports ``errors`` and ``_support``. pyarrow is imported when an Arrow array comes.
"""
