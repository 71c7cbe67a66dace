"""Figures, tables and sections of the report."""
