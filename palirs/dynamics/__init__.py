"""Molecular dynamics of many isolated molecules in one batch of tensors: state in, state out."""

from palirs.dynamics.fields import CommitteeField, EngineField, Field
from palirs.dynamics.langevin import langevin
from palirs.dynamics.noise import Noise
from palirs.dynamics.state import State, initial_state, kinetic_temperature

__all__ = ["CommitteeField", "EngineField", "Field", "Noise", "State", "initial_state", "kinetic_temperature", "langevin"]
