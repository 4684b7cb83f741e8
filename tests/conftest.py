"""Lets test files import the helpers beside them; appended, so tests/envs never hides envs."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
