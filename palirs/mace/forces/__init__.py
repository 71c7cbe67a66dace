"""How trained models are evaluated in motion."""
