"""Keys of groups and clusters: what ``by``, ``by_time`` and ``cluster`` hold.

In come columns of integers, strings, bytes or datetimes. Out go columns of integers, or of codes with what they stand
for, which the compiled core groups by.

``key_columns``  the conversion of columns, and the bytes of a key in a state
``periods``      the period of time that a moment falls in

Imports ``inputs`` and ``core``.
"""
