"""What any engine must give that adds the rows of ``summands``: the state of all metrics, and the roll-up of groups."""

import pyarrow as pa
import summands

import streamce as ce

# Kinds that have all parts and terms between them, for engines that are slow to ask.
CHOSEN = ("binary", "per class", "sequences", "normalized entropy", "tail", "positions", "clusters")


def like(name):
    return (summands.FIXED | summands.CELLS)[name].copy()


def table(metrics):
    """Return the rows of all metrics."""
    return pa.concat_tables([pa.table(metric.to_sql_rows()) for metric in metrics])


def grouped_table(name):
    return pa.concat_tables([pa.table(groups.to_sql_rows(("country", "hour"))) for groups in summands.groups(name)])


def check(name, add):
    """Check a function that adds the amounts of rows with equal keys, spec, cell, term and limb."""
    metrics = summands.metrics(name)
    assert ce.from_sql_rows(add(table(metrics), []), like=like(name)).to_bytes() == summands.merged(metrics).to_bytes()
    rows = grouped_table(name)
    by_country = ce.from_sql_rows(add(rows.drop(["hour"]), ["country"]), like=ce.Grouped(like(name)))
    assert by_country.to_bytes() == summands.by_country(name).to_bytes()
    whole = ce.from_sql_rows(add(rows.drop(["hour", "country"]), []), like=like(name))
    expected = summands.merged([summands.add(like(name), name, number) for number in range(summands.N)])
    assert whole.to_bytes() == expected.to_bytes()
