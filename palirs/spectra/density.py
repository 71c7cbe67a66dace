"""Vibrational density of states of each normal mode, from its velocity along a trajectory."""

import numpy as np

from palirs.spectra.infrared import lag_products, spectral_transform


def mode_densities(
    rates: np.ndarray, timestep: float, *, max_lag: float = 1000.0, window: str = "hann"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the spectrum of the kinetic energy of each normal mode, normalised to unit area.

    Its maximum is the anharmonic frequency of the mode at that temperature.

    Parameters
    ----------
    rates : numpy.ndarray
        Velocities of the normal coordinates, ``[trajectories, frames, modes]``, in any unit.
    timestep : float
        Between frames [fs].
    max_lag : float
        Depth of the autocorrelation [fs]; bands are as wide as those of a spectrum of this depth.
    window : str
        As in :func:`palirs.spectra.infrared_spectrum`.

    Returns
    -------
    wavenumber : numpy.ndarray
        Shape ``[points]`` [cm⁻¹], the grid of a spectrum made with the same time step and depth.
    density : numpy.ndarray
        Shape ``[modes, points]`` [1/cm⁻¹].

    Raises
    ------
    ValueError
        For a wrong shape, or a trajectory that is shorter than ``max_lag``.
    """
    values = np.asarray(rates, dtype=float)
    lags = round(max_lag / timestep)
    if values.ndim != 3 or values.shape[1] < lags + 1:
        raise ValueError(
            f"rates have shape {values.shape}; it should be [trajectories, frames, modes], at "
            f"least {lags + 1} frames"
        )
    correlations = []
    for mode in range(values.shape[2]):
        products = [
            lag_products(trajectory[:, mode : mode + 1], 0, len(trajectory), lags)
            for trajectory in values
        ]
        correlations.append(
            sum(sums for sums, _ in products) / sum(counts for _, counts in products)
        )
    wavenumber, density = spectral_transform(np.array(correlations), timestep, window)
    area = np.trapezoid(density, wavenumber, axis=1)
    return wavenumber, density / np.where(area > 0, area, 1.0)[:, None]
