"""Options of reading files. Imports nothing, so that the command line can hold them before it opens a file."""

from dataclasses import dataclass

MAX_RECORD = 1 << 26  # default limit of the bytes in a row of CSV or a line of JSON


@dataclass(frozen=True)
class ReadOptions:
    """Options of reading files.

    Attributes
    ----------
    max_record : int
        The limit of the bytes of a row of CSV or a line of JSON.
    quote : str or None
        The character that encloses cells of CSV and TSV, "" for none, or None for that of the format.
    skip_unreadable : bool
        Whether rows that cannot be read are left out and counted.
    format : str or None
        The format of all files: "csv", "tsv", "jsonl", "json", "parquet", "arrow", "npy" or "npz". None if their names
        or first bytes tell.
    delimiter : str or None
        The character between cells of CSV and TSV, or None for that of the format.
    decimal : str or None
        The decimal point of CSV and TSV: "." or ",".
    encoding : str or None
        The encoding of text, as Python names it. None is UTF-8.
    null : tuple of str
        Cells of CSV and TSV that are missing values, in addition to the usual ones.
    threads : int or None
        The number of threads that parse CSV and TSV. None is the default number of threads.
    """

    max_record: int = MAX_RECORD
    quote: str | None = None
    skip_unreadable: bool = False
    format: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    null: tuple[str, ...] = ()
    threads: int | None = None


DEFAULT_OPTIONS = ReadOptions()
