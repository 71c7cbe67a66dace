"""Production: long MD whose dipoles become spectra, and its files."""
