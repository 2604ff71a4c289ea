"""The command line.

Input: the arguments of a command. Output: a result on standard output, files of states, and an exit status.

``main``             the entry: the arguments of a command in, an exit status out
``console_filter``   escapes control characters in everything that is printed
``arguments``        the commands, their options and help (``help/*.txt``)
``option_values``    text of options as numbers, lengths and names
``config``           the options of a command, checked and complete
``evaluate``         ``streamce eval``
``compare``          ``streamce compare``
``watch``            ``streamce watch``
``state_commands``   ``streamce merge``, ``diff``, ``show`` and ``report``
``state_lock``       the lock on the state that a command writes
``column_resolver``  the columns and classes that options mean in a file
``metric_factory``   the metric that options ask for
``resume``           the checkpoints of ``eval``, from which a run resumes
``partitions``       the partitions of a run of ``eval`` on a cluster
``cluster_run``      that run with Dask, Spark or Ray
``paired_reader``    the predictions of the two models that ``compare`` reads side by side
``watch_rules``      the windows, alert rules and reference of ``watch``
``gate``             the exit status of a result that a pipeline must not accept
``formatting``       a metric as a table or as JSON
``console``          progress, results and errors

``argparse.Namespace`` does not leave ``arguments``. Imports ``errors``, ``_support``, ``inputs``, ``keys``, ``stats``,
``reading``, ``metrics``, ``wrappers``, ``persistence``, ``report``, ``integrations``, ``streamce`` and ``monitor``.
"""
