"""Clusters of this machine, on loopback: one of Dask and one of Spark, started when a test asks for them."""

import logging
import os
import sys
import warnings

import pytest

# Both engines cause warnings of other packages.
FOREIGN = [
    "ignore:PySpark does not yet fully support pandas:FutureWarning",
]


def pytest_collection_modifyitems(items):
    for item in items:
        for warning in FOREIGN:
            item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(scope="session")
def dask_cluster():
    """Start two worker processes, which nannies restart if they die."""
    from distributed import LocalCluster

    cluster = LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
    )
    with cluster:
        yield cluster


@pytest.fixture
def client(dask_cluster):
    from distributed import Client

    with Client(dask_cluster.scheduler_address, timeout=20) as client:
        yield client


@pytest.fixture(scope="session")
def spark():
    """Start Spark with two task slots, and three more tries for a task that fails."""
    os.environ.update(SPARK_LOCAL_IP="127.0.0.1", PYSPARK_PYTHON=sys.executable)
    from pyspark.sql import SparkSession

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
        make = SparkSession.builder.master("local[2,4]").appName("streamce tests")
        for name, value in {
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.log.level": "OFF",
        }.items():
            make = make.config(name, value)
        session = make.getOrCreate()
    yield session
    session.stop()
