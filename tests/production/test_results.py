"""From dipoles of trajectories to the spectrum of a study."""

import numpy as np
import pytest

from palirs.molecules import table
from palirs.production import Run, check_enough, spectrum_of
from palirs.production.trajectories import geometries
from palirs.recipes import PalirsError
from palirs.settings import Spectroscopy
from palirs.spectra import infrared_spectrum
from palirs.units import SPEED_OF_LIGHT, duration


def line(wavenumber, timestep):
    phase = 2 * np.pi * SPEED_OF_LIGHT * wavenumber * timestep * np.arange(24000)
    return np.stack([np.cos(phase), 0 * phase, 0 * phase], axis=-1)[None]


def highest(spectrum):
    near = spectrum.intensity > 0.5 * spectrum.intensity.max()
    return np.average(spectrum.wavenumber[near], weights=spectrum.intensity[near])


def test_the_axis_is_that_of_the_molecule_except_by_schnetpacks_recipe():
    """A line that the integrator has moved to 3700 cm⁻¹ is one of 3681 cm⁻¹.

    SchNetPack leaves it where it is.
    """
    dipoles = line(3700.0, 0.5)
    ours = spectrum_of(dipoles, Spectroscopy(dipole_interval=0.5), 300.0, "ours")
    assert ours.label == "ours"
    assert highest(ours) == pytest.approx(3681.3, abs=2)
    theirs = spectrum_of(
        dipoles, Spectroscopy(method="schnetpack", dipole_interval=0.5), 300.0, "theirs"
    )
    alone = infrared_spectrum(dipoles[0], 0.5, method="schnetpack").within(0, 5000)
    np.testing.assert_array_equal(theirs.intensity, alone.intensity)
    assert highest(theirs) == pytest.approx(3700, abs=5)


def test_schnetpacks_recipe_needs_every_time_step():
    with pytest.raises(ValueError, match=r"every time step; give 0\.5"):
        Spectroscopy(method="schnetpack", dipole_interval=2.0)


def test_a_trajectory_that_ended_before_its_first_geometry_has_none(tmp_path):
    files = [tmp_path / f"{number}.xyz" for number in range(3)]
    for number, file in enumerate(files):
        table()["methanol"].write(file, format="extxyz") if number != 1 else file.touch()
    assert len(geometries(files)) == 2
    assert geometries(files[1:2]) == []


def test_too_few_trajectories_are_told_with_the_reason():
    def run(*broken):
        whole = sum(not reason for reason in broken)
        return Run(
            "a",
            np.zeros((whole, 5, 3)),
            np.zeros(whole),
            np.zeros(whole),
            np.zeros(whole),
            list(broken),
        )

    check_enough([run("", ""), run("", "dissociated")], 0.5)
    with pytest.raises(
        PalirsError, match=r"a: 1 of 3 trajectories ended well; one that did not: gone"
    ):
        check_enough([run("", "gone", "gone")], 0.5)
    with pytest.raises(PalirsError, match="0 of 1"):
        check_enough([run("gone")], 0.0)


@pytest.mark.parametrize(
    ("seconds", "says"),
    [(40, "40 s"), (89, "89 s"), (600, "10 min"), (7200, "2.0 h"), (300000, "3.5 days")],
)
def test_times_are_said_as_people_say_them(seconds, says):
    assert duration(seconds) == says
