"""Files of any size, and Arrow streams, as chunks of NumPy arrays. Nothing here knows a loss.

In come the names of a user. Out go chunks of some thousand rows, or a DataError that names file, row and column.

``sources``          files, folders, globs, URIs and standard input
``byte_file``        bytes of a file by position: files are never mapped
``tables``           a class per format, which gives names, types and record batches
``records``          text cut into blocks of whole records
``arrow_blocks``     record batches of an Arrow file, some rows at a time
``numpy_rows``       rows of .npy and .npz files
``arrow_stream``     Arrow streams that are handed over
``columns``          which columns a name or glob stands for
``labels``           names of classes as integers
``ragged``           lists as entries one after another, with offsets
``reader``           record batches to chunks, on a thread of its own
``error_locations``  the row and column of an error, in place of an array's index

Imports ``errors``, ``_support`` and ``inputs``. Needs pyarrow.
"""
