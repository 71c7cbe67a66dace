import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from palirs.engines import EngineFailure, PySCF
from palirs.engines.pyscf import PySCFCalculator
from palirs.recipes import PalirsError

SMALL = {"basis": "sto-3g", "dispersion": None}


def test_a_plain_script_gives_the_same():
    """PBE of water against a plain PySCF script."""
    from pyscf import dft, gto

    atoms = molecule("H2O")
    mol = gto.M(
        atom=[(s, p) for s, p in zip(atoms.symbols, atoms.positions, strict=True)],
        basis="def2-svpd",
        verbose=0,
    )
    method = dft.RKS(mol, xc="pbe").density_fit()
    method.kernel()
    ours = PySCF(dispersion=None).calculate([atoms])[0]
    assert ours.energy == pytest.approx(method.e_tot * 27.211386, abs=1e-3)
    np.testing.assert_allclose(ours.dipole, method.dip_moment(verbose=0) * 0.2081943, atol=1e-5)


def test_dispersion_pulls_argons_together():
    pair = Atoms("Ar2", [[0, 0, 0], [0, 0, 4.0]])
    plain, d3, d4 = (
        PySCF(basis="sto-3g", dispersion=kind).calculate([pair])[0] for kind in (None, "d3bj", "d4")
    )
    for corrected in (d3, d4):
        assert corrected.energy < plain.energy
        assert (corrected.forces - plain.forces)[1, 2] < 0, "the upper one is drawn down"


def test_a_start_from_the_last_frame_saves_steps_and_keeps_the_numbers():
    rng = np.random.default_rng(0)
    structures = []
    for _ in range(4):
        atoms = molecule("H2O")
        atoms.positions += rng.normal(0, 0.02, atoms.positions.shape)
        structures.append(atoms)
    carried, fresh = (
        PySCF(guess=guess, **SMALL).calculate(structures) for guess in ("previous", "minao")
    )
    for a, b in zip(carried, fresh, strict=True):
        assert a.energy == pytest.approx(b.energy, abs=1e-7)
        np.testing.assert_allclose(a.forces, b.forces, atol=2e-5)


def test_a_start_is_carried_over_only_when_that_is_safe():
    engine = PySCF(**SMALL)
    calculator = PySCFCalculator(engine)
    water = molecule("H2O")
    engine.run(calculator, water)

    def carried(atoms):
        calculator.atoms = atoms
        return calculator._carried() is not None

    near = water.copy()
    far = water.copy()
    other = Atoms("HOH", positions=water.positions[[1, 0, 2]])
    near.positions[1] += 0.05
    far.rotate(90, "x")
    assert carried(near)
    assert not carried(far)
    assert not carried(other)


def test_the_ladder_is_climbed(monkeypatch):
    """Too few steps for DIIS alone.

    The second-order solver gets there, or the failure says what was tried.
    """
    stretched = molecule("H2O")
    stretched.positions[1] += [0, 0.9, -0.5]
    reference = PySCF(max_cycles=200, guess="minao", **SMALL).calculate([stretched])[0]
    climbed = []
    for name in ("_shifted", "_second_order"):
        step = getattr(PySCFCalculator, name)
        monkeypatch.setattr(
            PySCFCalculator,
            name,
            lambda self, failed, step=step, name=name: (climbed.append(name), step(self, failed))[
                1
            ],
        )
    found = PySCF(max_cycles=7, guess="minao", **SMALL).calculate([stretched])[0]
    assert climbed == ["_shifted", "_second_order"]
    assert found.energy == pytest.approx(reference.energy, abs=1e-6)
    np.testing.assert_allclose(found.forces, reference.forces, atol=1e-4)
    with pytest.raises(
        EngineFailure, match=r"not converged with DIIS, level shift and second-order.*gap"
    ) as failure:
        PySCF(max_cycles=1, guess="minao", **SMALL).calculate([stretched])
    assert failure.value.final


def test_core_potentials_come_with_the_basis_set_that_needs_them():
    """Iodine in def2-SVP has 25 electrons and -298 Hartree.

    With all 53 in the same functions it would have -4000 or so.
    """
    energy = (
        PySCF(basis="def2-svp", dispersion=None)
        .calculate([Atoms("HI", [[0, 0, 0], [0, 0, 1.6]])])[0]
        .energy
    )
    assert -300 < energy / 27.2114 < -296


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"functional": "pbee"}, "engine.functional = 'pbee'"),
        ({"basis": "def2-svpq"}, "engine.basis = 'def2-svpq'"),
        ({"auxiliary_basis": "nope"}, "engine.auxiliary_basis = 'nope'"),
        ({"device": "gpu"}, "gpu4pyscf is not installed"),
    ],
)
def test_mistakes_are_found_before_anything_runs(fields, says):
    with pytest.raises(PalirsError, match=says):
        PySCF(**fields)


def test_threads_are_those_of_the_worker():
    from pyscf import lib

    from palirs import threads

    before = threads._allowed
    threads.limit(1)
    PySCF(**SMALL).calculate([molecule("H2")])
    assert lib.num_threads() == 1
    threads._allowed = before
