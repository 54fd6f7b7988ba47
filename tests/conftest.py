"""What every test may use: the Hypothesis profiles, and the data outside the project."""

import os

# Two threads that wait for each other on a busy machine take 100 times as long as one; set before NumPy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the course's files and MNIST, which lie beside the project and are not part of it."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the course's files and MNIST in {folder}")
    return folder
