"""The formats of files: each gives the names, types and record batches of a source. No file is held in memory.

Input: a ``Source``. Output: a ``Table``, which yields record batches from any position on.

``base``          ``Table``, the interface that each format implements
``parquet``       Parquet
``arrow_ipc``     Arrow IPC, in the file format or the stream format
``arrow_blocks``  large record batches of an Arrow file, some rows at a time
``text``          text parsed in blocks of whole records
``csv_text``      CSV and TSV
``csv_parser``    blocks of CSV as Arrow tables, and a second look at unreadable rows
``json_text``     JSON: lines, objects one after another, or an array
``json_records``  text of JSON cut into blocks of whole records
``json_rows``     rows of JSON, decoded by msgspec, or by Python's json where msgspec refuses
``json_values``   types of values of JSON, and arrays of them
``paths``         paths into nested columns
``nested``        nested columns of Arrow by path
``records``       text cut into blocks of whole records
``numpy_files``   .npy and .npz files
``numpy_rows``    the rows of an array in such a file

Imports ``errors``, ``_support``, ``inputs`` and ``files``.
"""
