"""Streams that grow while they are watched. ``streamce.cli.watch`` runs this.

Input: the name of a file, a folder or standard input. Output: new rows, each with the position after it, alerts, and a
page for a Prometheus server.

``open_source``     the source that a name stands for
``growing_source``  the interface of a growing source: new rows, and a position from which to resume
``jsonl_source``    a file of JSON lines, which may be rotated, or standard input
``jsonl_table``     lines as a table
``parquet_folder``  a folder that receives Parquet files
``alerts``          bounds and references, and when an alert begins and ends
``metrics_page``    the metrics of a watch, for a Prometheus server
``http_server``     the server of that page

Imports ``errors``, ``stats``, ``reading``, ``metrics`` and ``integrations``.
"""
