"""Evaluation of trained models along MD trajectories."""
