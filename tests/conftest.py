"""One thread as in every cell; test files may import the helpers beside them."""

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

os.environ["OMP_NUM_THREADS"] = "1"  # small networks are fastest so, and the promise is made for it

sys.path.append(str(Path(__file__).parent))  # appended, so tests/envs never hides envs

settings.register_profile("pbrl", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pbrl")  # a busy machine is no reason to fail
