"""One module per foreign package, each imported by its user: ``import streamce.integrations.dask``.

``engines``            ``partial``, ``merge`` and ``finish``, for any engine that has no module here
``dask``, ``spark``    ``evaluate``: a metric of a distributed collection
``torch_distributed``  ``all_reduce``: the sum over the ranks of a job
``prometheus``         ``Collector``: metrics for a Prometheus server

Imports every layer below, and its own package when it is first used.
"""
