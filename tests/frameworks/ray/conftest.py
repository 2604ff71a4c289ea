"""Ray on this machine: two processors, loopback only, no dashboard and no reports of usage."""

import logging
import os
import sys

import pytest

# Ray reads these when it is imported. With a token in the environment, it writes none to the home folder.
os.environ.update(
    RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
    RAY_USAGE_STATS_ENABLED="0",
    RAY_AUTH_MODE="token",
    RAY_AUTH_TOKEN="0123456789abcdef0123456789abcdef",
)
# Warnings of Ray about itself.
FOREIGN = [
    r"ignore:`use_\w+` is deprecated:DeprecationWarning",
]


def pytest_collection_modifyitems(items):
    for item in items:
        for warning in FOREIGN:
            item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(scope="session")
def cluster():
    import ray

    ray.init(
        "local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.CRITICAL,
        object_store_memory=200 << 20,
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}},
    )
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.default_hash_shuffle_parallelism = 2  # not 200 tasks for the groups of a small dataset
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    yield ray
    ray.shutdown()
