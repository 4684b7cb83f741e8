"""What `pbrl doctor` says about this machine and installation."""

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Iterator

PACKAGES = (
    "pbrl",
    "torch",
    "stable-baselines3",
    "gymnasium",
    "dm-control",
    "metaworld",
    "mujoco",
    "shimmy",
    "numpy",
    "numba",
    "scipy",
    "polars",
    "matplotlib",
    "pydantic",
    "typer",
    "rich",
    "safetensors",
    "ray",
)


def lines() -> Iterator[str]:
    """The report, a line at a time, so that a slow or crashing part is seen as such."""
    yield f"python      {platform.python_version()} ({sys.executable})"
    yield f"platform    {platform.platform()}, {os.cpu_count()} cores"
    for package in PACKAGES:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = "not installed"
        yield f"  {package:<18}{version}"
    import torch

    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    yield f"devices     cpu{''.join(f', cuda:{i} {name}' for i, name in enumerate(cuda))}"
    import envs

    backend, note = envs.render_backend()
    yield f"rendering   {backend or 'none'} ({note})"
    free = shutil.disk_usage(".").free / 2**30
    yield f"disk        {free:.0f} GiB free here"
