"""Keys of groups and clusters: the arguments ``by``, ``by_time`` and ``cluster``.

Input: columns of integers, strings, bytes or datetimes. Output: columns of integers, or of codes and their values, by
which the compiled core groups.

``encoding``         keys as bytes for states, and as text for people
``key_columns``      conversion of columns
``moments``          datetimes, numbers and text as microseconds since 1970
``periods``          lengths of time, and the period that a timestamp falls in
``cluster_buckets``  the hash of each cluster

Imports ``errors``, ``_support``, ``inputs`` and ``core``.
"""
