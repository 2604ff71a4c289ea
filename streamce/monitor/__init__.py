"""Streams that grow while they are watched.

``growing_source``  what a growing source is: new rows, and a position to go on from
``open_source``     the source for a name
``jsonl_source``    a file or pipe of JSON lines, which may be rotated
``jsonl_batches``   lines to columns
``parquet_folder``  a folder that receives Parquet files
``alerts``          bounds and references, and when an alert begins and ends
``metrics_page``    what a Prometheus server reads of a watch
``http_server``     the server of that page

Imports every layer below. ``streamce.cli.watch`` runs it.
"""
