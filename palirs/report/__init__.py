"""Figures, tables and sections of the report; nothing is computed here."""
