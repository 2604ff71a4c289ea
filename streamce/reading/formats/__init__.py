"""The formats of files: each gives the names, types and record batches of a source. No file is held in memory.

Input: a ``Source``. Output: a ``Table``, which yields record batches from any position on.

``base``          ``Table``, the interface that each format implements
``parquet``       Parquet
``arrow_ipc``     Arrow IPC, in the file format or the stream format
``arrow_blocks``  large record batches of an Arrow file, some rows at a time
``text``          text parsed in blocks of whole records
``csv_text``      CSV and TSV
``json_text``     JSON lines
``records``       text cut into blocks of whole records
``numpy_files``   .npy and .npz files
``numpy_rows``    the rows of an array in such a file

Imports ``errors``, ``inputs`` and ``files``.
"""
