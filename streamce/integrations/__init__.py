"""One module per foreign package, each imported by its user: ``import streamce.integrations.dask``.

Input: metrics, and data or states on the machines of a cluster. Output: one metric of all the data, or its values for a
server.

``engines``            ``partial``, ``merge`` and ``finish``, for any engine that has no module here
``record_tables``      tables of records
``dask``, ``spark``    ``evaluate``: a metric of all rows of a distributed collection
``ray``                ``evaluate`` too, and ``MetricState``, an aggregation of Ray
``beam``               ``Evaluate``, a transform of Beam, and ``MetricCombineFn``
``torch_distributed``  ``all_reduce``: the sum over the ranks of a job
``exported_metrics``   ``Exporter``: metrics as named samples, for the two modules below
``ignite``             ``ExactLoss``: a metric in an engine of ignite
``keras``              ``ExactLossCallback``: the loss of validation data in the logs of ``fit``
``river``              ``ExactLogLoss`` and ``ExactCrossEntropy``: metrics that river updates and reverts
``prometheus``         ``Collector``: metrics for a Prometheus server
``opentelemetry``      ``observe``: metrics as instruments of OpenTelemetry
``torchmetrics``       ``ExactMetric``: a metric of torchmetrics with an exact state
``transformers``       ``EvalMetric``: the exact loss of an evaluation by Hugging Face's Trainer

A foreign package is imported when it is first used. Imports ``errors``, ``_support``, ``inputs``, ``core``,
``keys``, ``stats``, ``reading``, ``metrics``, ``wrappers`` and ``persistence``.
"""
