"""Chunks of NumPy arrays from files of any size and from Arrow streams. Nothing here knows a loss.

Input: the names that a user gives files. Output: chunks of many rows, or a DataError that names file, row and column.

``files``              files, folders, globs, URIs and standard input, and their bytes
``formats``            a class per format, which gives names, types and record batches
``partition_columns``  columns that the names of folders hold
``open_table``         the table of a source: its format, or a pipe
``arrow_stream``       Arrow streams of a program as tables
``columns``            selection of columns by name, comma list or glob
``labels``             names of classes as integers
``selection``          the columns of each argument of ``update``
``chunk``              rows of a source as arrays
``ragged``             list columns as flat arrays with offsets
``reader``             chunks of record batches, read on another thread
``differences``        the first row in which columns of two files differ
``key_values``         keys of two files in a form in which equal keys are equal
``carriers``           columns as types that a database stores unchanged
``key_join``           the rows of two files with equal keys
``row_pairs``          chunks of two files with the same rows, by position or by key
``error_locations``    row and column of an error, in place of an array's index

Imports ``errors``, ``_support``, ``inputs`` and ``keys``. Needs pyarrow, and ``key_join`` needs duckdb.
"""
