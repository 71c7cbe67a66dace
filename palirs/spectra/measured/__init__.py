"""Measured spectra: read from many kinds of files, checked, and prepared for comparison."""
