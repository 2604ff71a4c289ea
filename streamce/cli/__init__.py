"""The command line, a client of the public interface.

``main``            the entry: the arguments of a command in, an exit status out
``arguments``       the commands, their options and help (``help/*.txt``)
``config``          the options of a command, checked and complete
``column_resolver`` the columns and classes that options mean in a file
``metric_factory``  the metric that options ask for
``evaluate``        ``streamce eval``, with ``resume``, ``partitions`` and ``cluster_run``
``compare``         ``streamce compare``, with ``paired_reader``
``watch``           ``streamce watch``, with ``watch_rules``
``state_commands``  ``streamce merge``, ``show`` and ``report``
``formatting``      a metric as a table or as JSON
``console``         progress, results and errors
``console_filter``  escapes control characters in everything that is printed
``state_lock``      the lock on the state that a command writes

``argparse.Namespace`` does not leave ``arguments``. Imports every layer below.
"""
