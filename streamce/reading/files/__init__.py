"""Files by name: the sources that a user's names mean, and the bytes of a file.

Input: names of files, folders and globs, URIs, or "-" for standard input. Output: a ``Source`` for each file, with its
format.

``read_options``  the options of reading
``decoding``      text as UTF-8: unpacked, and converted from another encoding
``sources``       what each name means, and errors of the operating system as DataErrors
``byte_file``     bytes of a file by offset: files are never mapped

Imports ``errors`` and ``_support``.
"""
