"""What all tests share: Hypothesis profiles, a seeded generator, the way to the test data."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings

# No deadline: the first call of a kernel compiles it, which takes seconds.
_ALWAYS = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("dev", max_examples=15, **_ALWAYS)
settings.register_profile("ci", max_examples=20, derandomize=True, print_blob=True, **_ALWAYS)
settings.register_profile("thorough", max_examples=500, **_ALWAYS)
# For planted bugs and mutants: the same examples each time, and a failure is not made smaller.
_FIXED = {"derandomize": True, "database": None, "phases": [Phase.explicit, Phase.generate]}
settings.register_profile(
    "planted", max_examples=20, report_multiple_bugs=False, **_FIXED, **_ALWAYS
)
settings.register_profile("mutation", max_examples=8, **_FIXED, **_ALWAYS)
settings.register_profile("mutation-wide", max_examples=60, **_FIXED, **_ALWAYS)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if "CI" in os.environ else "dev")
)


def data_folder() -> Path | None:
    """Where the test data lie: $SCRATCHGRAD_DATA, else ../shared/data beside the repository."""
    named = os.environ.get("SCRATCHGRAD_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of test data; skips the test where there is none."""
    folder = data_folder()
    if folder is None:
        pytest.skip("no test data: set SCRATCHGRAD_DATA to their folder")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1234)
