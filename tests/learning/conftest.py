from dataclasses import replace

import pytest
import torch

from palirs.mace.models.committee import Committee
from palirs.mace.models.potential import PotentialShape


@pytest.fixture(scope="module")
def committee(small, frames):
    """Untrained members too weak to tear a molecule apart."""
    members = []
    for seed in range(3):
        torch.manual_seed(seed)
        shape = replace(PotentialShape.of(frames, small), scale=0.05)
        members.append((shape, shape.build()))
    return Committee.of(members)
