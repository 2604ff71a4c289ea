"""Conversion of inputs: any supported argument becomes a NumPy array, or an InputError that explains why it cannot.

Input: the arguments of a user: lists, NumPy arrays, pandas, polars, Arrow, DLPack, torch. Output: ``ArrayData``. Each
argument is converted once, by the first function that receives it.

``interop``      arrays of other libraries: pandas, DLPack, Arrow's PyCapsule protocol
``arrow``        Arrow columns as NumPy arrays and masks of their nulls
``arrays``       the conversion, and ``ArrayData``
``real_labels``  whole numbers in an array of reals as integer labels
``class_names``  labels that are names of classes, as numbers
``outputs``      arrays and tensors that results are written to
``messages``     errors about shapes, dtypes, lengths and options
``loss_layout``  which loss an entry of an argument belongs to
``loss_errors``  errors about invalid losses, which the core finds by index and cause

Imports ``errors`` and ``_support``. pyarrow is imported when the first Arrow array arrives.
"""
