"""What has to be measured in a process of its own."""

import json
import os
import subprocess
import sys
from dataclasses import asdict

import torch

from benchmarks.process import ALLOCATOR
from benchmarks.tables import Settings, Table


def _elsewhere(name: str, settings: Settings, environment: dict[str, str]) -> list[Table]:
    """The tables that benchmarks/worker.py makes there; the last line it prints is they."""
    command = [sys.executable, "-m", "benchmarks.worker", name]
    arguments = json.dumps({"threads": torch.get_num_threads(), "settings": asdict(settings)})
    output = subprocess.run(
        [*command, arguments], env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    return [Table(**table) for table in json.loads(output.splitlines()[-1])]


def tensorflow(settings: Settings) -> list[Table]:
    """TensorFlow, whose threads would disturb the others, beside nn.Conv2d."""
    return _elsewhere("tensorflow", settings, dict(os.environ))


def default_allocator(settings: Settings) -> list[Table]:
    """Some of the inference again, with glibc's allocator as it is."""
    environment = {key: value for key, value in os.environ.items() if key not in ALLOCATOR}
    return _elsewhere("default allocator", settings, environment)
