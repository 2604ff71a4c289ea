"""The command line, a client of the public interface.

``main``            the entry: a command's arguments in, an exit status out
``arguments``       the commands, their options and help
``column_resolver`` which columns and classes the words of a command stand for
``metric_factory``  the metric that options ask for
``evaluate``        ``streamce eval``, with ``resume``, ``partitions`` and ``cluster_run``
``compare``         ``streamce compare``, with ``paired_reader``
``watch``           ``streamce watch``
``state_commands``  ``streamce merge``, ``show`` and ``report``
``formatting``      a metric as a table or as JSON
``console``         progress, results and errors
``console_filter``  control characters escaped in everything that is printed
``state_lock``      the lock on the state that a command writes

``argparse.Namespace`` does not leave this folder.
"""
