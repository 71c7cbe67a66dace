"""Measured spectra: records of many kinds are read, or refused with the reason, and made ready for comparison."""
