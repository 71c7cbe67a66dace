"""Which of several computed spectra is that of a measured record."""
