"""The sums of Spark SQL and of torch.distributed merge states."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import summands
from engine_sums import CHOSEN, check

RANKS = Path(__file__).with_name("limb_ranks.py")


@pytest.mark.parametrize("name", CHOSEN)
def test_spark_sql(spark, name):
    def add(rows, keys):
        types = {"limb": "BIGINT", "amount": "BIGINT", "hour": "BIGINT"}
        schema = ", ".join(f"{field} {types.get(field, 'STRING')}" for field in rows.column_names)
        values = [tuple(row.values()) for row in rows.to_pylist()]
        spark.createDataFrame(values, schema).createOrReplaceTempView("states")
        names = ", ".join([*keys, "spec", "cell", "term", "limb"])
        return spark.sql(f"SELECT {names}, SUM(amount) AS amount FROM states GROUP BY {names}").toArrow()

    check(name, add)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_all_reduce_of_torch_adds_limbs(tmp_path, size):
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, RANKS, str(size)]
    started = [
        subprocess.Popen([*command, str(rank), tmp_path / "store", tmp_path], env=environment, stderr=subprocess.PIPE)
        for rank in range(size)
    ]
    try:
        errors = [process.communicate(timeout=90)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * size, errors
    for name in summands.FIXED:
        expected = summands.merged(summands.metrics(name)).to_bytes()
        assert [(tmp_path / f"{rank}.{name}").read_bytes() for rank in range(size)] == [expected] * size
