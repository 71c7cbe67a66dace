"""What PySCF makes of functionals, dispersion and basis sets together.

What is accepted gives labels, and the rest is refused at once.
"""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from palirs.engines import PySCF
from palirs.engines.dft import basis_sets, dispersion, functionals
from palirs.recipes import PalirsError

FLUORIDE = Atoms("HF", positions=[[0, 0, 0], [0.3, 0.2, 0.9]])
SMALL = {"basis": "sto-3g", "grid": 0}


@pytest.mark.parametrize(
    ("functional", "model"),
    [
        ("svwn", None),
        ("pbe", "d3bj"),
        ("pbe0", "d4"),
        ("b3lyp", "d3zero"),
        ("0.5*hf+0.5*b88,lyp", None),
        ("hf", "d3bj"),
        ("hflyp", None),
        ("tpss", "d3bj"),
        ("r2scan", "d4"),
        ("m06-2x", None),
        ("m06-2x", "d3zero"),
        ("m062x", "d3zero"),
        ("m06-l", "d3zero"),
        ("m11-l", None),
        ("m11,m11", None),
        ("mn15", "d3bj"),
        ("hse06", "d3bj"),
        ("cam-b3lyp", "d3bj"),
        ("lc_wpbe", "d3bj"),
        ("b97-d", "d3bj"),
        ("cf22d", "d3zero"),
        ("wb97x", None),
        ("hyb_gga_xc_wb97x", "d4"),
        ("wb97m-d3bj", "d3bj"),
        ("wb97x-d3bj", "d3bj"),
        ("b97m-d4", "d4"),
    ],
)
def test_what_is_accepted_gives_a_label(functional, model):
    found = PySCF(functional=functional, dispersion=model, **SMALL).calculate([FLUORIDE])[0]
    assert -2720 < found.energy < -2650
    assert np.linalg.norm(found.forces) > 0.1
    assert abs(found.forces.sum(axis=0)).max() < 1e-3


@pytest.mark.thorough
def test_of_all_names_of_libxc_those_that_pass_give_labels():
    """Twenty of them, evenly.

    And about as many pass as libxc has functionals for exchange and correlation.
    """
    from pyscf.dft import libxc

    passing, plain = [], sorted(libxc.available_libxc_functionals())
    for name in (*plain, *sorted(libxc.XC_ALIAS)):
        try:
            PySCF(functional=name, **SMALL)
        except PalirsError as error:
            assert str(error).startswith(f"engine.functional = {name!r}: ")  # noqa: PT017
        else:
            passing.append(name)
    local = [name for name in passing if not dispersion.vv10(name)]  # the others take seconds
    assert 100 < len(passing) < 250
    for name in local[:: len(local) // 20]:
        PySCF(functional=name, **SMALL).calculate([FLUORIDE])


@pytest.mark.slow
def test_vv10_gives_forces_that_are_the_slope_of_its_energies(monkeypatch):
    # PySCF integrates VV10 over pairs of points: a coarse grid is sixty times faster
    monkeypatch.setattr("pyscf.__config__.dft_rks_RKS_nlcgrids_level", 0, raising=False)

    def at(height):
        return Atoms("H2", positions=[[0, 0, 0], [0.2, 0.1, height]])

    here, up, down = PySCF(functional="b97m-v", **SMALL).calculate([at(0.8), at(0.801), at(0.799)])
    assert here.forces[1, 2] == pytest.approx(-(up.energy - down.energy) / 0.002, abs=2e-3)


def test_a_functional_that_has_dispersion_in_place_of_vv10_is_that_of_pyscf():
    from pyscf import dft, gto

    molecule_ = gto.M(
        atom=[(s, p) for s, p in zip(FLUORIDE.symbols, FLUORIDE.positions, strict=True)],
        basis="sto-3g",
        verbose=0,
    )
    method = dft.RKS(molecule_, xc="wb97m-v").density_fit()
    method.nlc, method.disp, method.grids.level, method.conv_tol = 0, "d3bj", 0, 1e-10
    engine = PySCF(functional="wb97m-d3bj", dispersion="d3bj", **SMALL)
    assert engine.calculate([FLUORIDE])[0].energy == pytest.approx(
        method.kernel() * 27.211386, abs=1e-4
    )
    assert engine.name == "WB97M-D3BJ/sto-3g"
    assert engine.settings["pyscf-dispersion"]


@pytest.mark.parametrize("model", ["d3bj", "d3zero", "d4"])
@pytest.mark.parametrize(
    "functional",
    ["wb97m-v", "WB97X_V", "b97m-v", "vv10", "lc-vv10", "scan_vv10", "revscan_vv10", "gas22"],
)
def test_dispersion_is_not_counted_twice(functional, model):
    with pytest.raises(PalirsError, match=r"VV10.*twice; give dispersion=null"):
        PySCF(functional=functional, dispersion=model)


@pytest.mark.parametrize(
    ("functional", "model", "says"),
    [
        ("wb97m-v", "d3bj", "or functional=wb97m-d3bj"),
        ("wb97m-d3bj", None, "in place of the VV10.*give dispersion=d3bj"),
        ("wb97m-d3bj", "d4", "give dispersion=d3bj"),
        ("wb97x-d4", "d4", "releases of PySCF"),
        ("cf22d", None, "give dispersion=d3zero"),
        ("cf22d", "d3bj", "give dispersion=d3zero"),
        ("b97-d", None, "give dispersion=d3bj or d3zero"),
        ("m06-2x", "d3bj", "d3bj has no parameters.*give dispersion=d3zero, or dispersion=null"),
        ("m06-2x", "d4", "d4 has no parameters.*give dispersion=d3zero, or dispersion=null"),
        ("svwn", "d3bj", "no parameters.*give dispersion=null"),
        ("0.25*hf+0.75*pbe,pbe", "d3bj", "no parameters.*give dispersion=null"),
        ("pbe,pbe", "d3bj", "give functional=pbe dispersion=d3bj"),
        ("pbe1pbe", "d4", "give functional=pbe0 dispersion=d4"),
        ("b97-d", "d4", "give functional=b97d dispersion=d4"),
        ("wb97x", "d3bj", "refitted.*wb97x-d3bj dispersion=d3bj"),
        ("wb97x", "d3zero", "refitted"),
        ("wb97x", "d4", "functional=hyb_gga_xc_wb97x dispersion=d4"),
    ],
)
def test_functional_and_dispersion_belong_together(functional, model, says):
    with pytest.raises(PalirsError, match=f"^engine.functional = .*{says}"):
        PySCF(functional=functional, dispersion=model)


@pytest.mark.parametrize(
    ("functional", "says"),
    [
        ("pbe-d3", "give functional=pbe dispersion=d3bj or d3zero"),
        ("b3lyp-d3bj", "give functional=b3lyp dispersion=d3bj"),
        ("B3LYP-GD3BJ", "give functional=b3lyp dispersion=d3bj"),
        ("pbe0-d4", "give functional=pbe0 dispersion=d4"),
        ("pbe_d3", "give functional=pbe dispersion=d3bj"),
        ("pbe-d2", "give functional=pbe dispersion=d3bj"),
        ("pbe-d", "give functional=pbe dispersion=d3bj"),
        ("hf-d3bj", "give functional=hf dispersion=d3bj"),
        ("m06-2x-d3", "give functional=m06-2x dispersion=d3zero"),
        ("b97-d3bj", "give functional=b97-d dispersion=d3bj"),
        ("b97-3c", "composite"),
        ("B97_3C", "composite"),
        ("gga_xc_b97_3c", "composite"),
        ("pbeh-3c", "composite"),
        ("r2scan-3c", "composite"),
        ("hf-3c", "composite"),
        ("wb97x-3c", "composite"),
        ("wb97x-d", "give functional=wb97x-v dispersion=null"),
        ("wb97x-d3", "give functional=wb97x-v dispersion=null"),
        ("hyb_gga_xc_wb97x_d", "fitted together with a dispersion correction"),
        ("HYB_GGA_XC_WB97XD3", "fitted together with a dispersion correction"),
        ("otpss-d", "fitted together with a dispersion correction"),
        ("beefvdw", "vdW-DF"),
        ("optb88_vdw,lda", "vdW-DF"),
        ("scan_rvv10", "rVV10.*scan_vv10"),
    ],
)
def test_a_name_that_says_more_than_a_functional_is_taken_apart(functional, says):
    for model in (None, "d3bj"):
        with pytest.raises(PalirsError, match=f"^engine.functional = .*{says}"):
            PySCF(functional=functional, dispersion=model)


@pytest.mark.parametrize(
    ("functional", "says"),
    [
        ("b2plyp", "perturbation"),
        ("b2plyp-d3", "perturbation"),
        ("xyg3", "perturbation"),
        ("dsd-blyp", "perturbation"),
        ("pbe0-dh", "perturbation"),
        ("wb97x-2", "number 2 of libxc.*perturbation"),
        ("0.53*hf+0.47*b88,0.73*lyp", "correlation 0.73.*perturbation"),
        ("b88", "correlation 0,.*blyp"),
        ("pbe,", "correlation 0,.*as in pbe"),
        (",pbe", "exchange 0,.*as in pbe"),
        ("lda", "correlation 0,.*svwn"),
        ("gga_c_lyp", "exchange 0,.*blyp"),
        ("lyp", "did you mean.*lyp"),
        ("hyb_mgga_x_m06_2x", "correlation 0,.*m06_2x"),
        ("hf,", "give hf"),
        ("", "exchange 0, correlation 0"),
        ("b3lyp+pbe", "exchange 2, correlation 2"),
        ("0.5*b3lyp", "exchange 0.5, correlation 0.5"),
        ("hjs_pbe,pbe", "exchange at long range 0"),
        ("itYh,lyp", "exchange at long range 0"),
        ("gga_k_vw", "kinetic"),
        ("lda_k_tf,", "kinetic"),
        ("scanl", "Laplacian.*scan"),
        ("r2scanl", "Laplacian.*r2scan"),
        ("2d_pbe,pbe", "dimensions"),
        ("1d_ehwlrg_1", "dimensions"),
        ("gga_x_lb", "potential and no energy"),
        ("lb,pbe", "potential and no energy"),
        ("lda_xc_tih", "potential and no energy"),
        ("camyb3lyp", "another function than erf.*cam_b3lyp"),
        ("lcy_pbe", "another function than erf"),
        ("pbe,epc17", "electrons and protons"),
        ("slater,pw_erf", "one range only"),
        ("cam_o3lyp", "neon"),
        ("x1b95", "neon"),
        ("tau_hcth,tau_hcth", "several.*hyb_mgga_x_tau_hcth, mgga_x_tau_hcth"),
        ("0.5*wb97x_v+0.5*b97m_v", "several of its parts have VV10"),
        ("0.5*hse06+0.5*cam_b3lyp", "PySCF fails on it"),
        ("402", "number 402"),
        ("pbee", "did you mean pbe"),
        ("m11", "did you mean m11,m11"),
        ("bl3yp", "did you mean.*b3lyp"),
        ("0.5*", "no such functional"),
        ("pbe,pbe,pbe", "no such functional"),
    ],
)
def test_what_is_no_functional_for_energies_and_forces_is_refused(functional, says):
    with pytest.raises(PalirsError, match=f"^engine.functional = .*{says}"):
        PySCF(functional=functional)


@pytest.mark.parametrize(
    ("auxiliary", "functional", "says"),
    [
        ("def2-universal-jkfit", "pbe", ""),
        ("def2-universal-jkfit", "b3lyp", ""),
        ("cc-pvtz-jkfit", "hf", ""),
        ("def2-universal-jfit", "pbe", ""),
        ("weigend", "m11-l", ""),
        (
            "def2-universal-jfit",
            "b3lyp",
            "Coulomb part only, and functional=b3lyp has exact exchange",
        ),
        ("def2-universal-jfit", "hf", "Coulomb part only"),
        ("weigend", "wb97m-v", "Coulomb part only"),
        ("ahlrichs", "cam-b3lyp", "Coulomb part only"),
        ("demon", "0.25*hf+0.75*pbe,pbe", "Coulomb part only"),
        ("def2-svpd", "pbe", "not made for that; give null.*def2-universal-jkfit"),
        ("cc-pvtz", "b3lyp", "not made for that"),
        ("6-31g*", "hf", "not made for that"),
        ("def2-svp-ri", "pbe", "not made for that"),
        ("nope", "pbe", "no such basis set"),
    ],
)
def test_an_auxiliary_set_fits_what_it_is_taken_for(auxiliary, functional, says):
    if not says:
        PySCF(auxiliary_basis=auxiliary, functional=functional)
        return
    with pytest.raises(
        PalirsError,
        match=f"^engine.auxiliary_basis = {auxiliary!r}: .*{says}".replace("*'", r"\*'"),
    ):
        PySCF(auxiliary_basis=auxiliary, functional=functional)


def test_an_auxiliary_set_without_density_fitting_is_refused():
    with pytest.raises(PalirsError, match=r"engine.auxiliary_basis.*density_fitting=true"):
        PySCF(auxiliary_basis="def2-universal-jkfit", density_fitting=False)


@pytest.mark.parametrize(
    "basis", ["def2-universal-jkfit", "weigend", "cc-pvdz-ri", "demon", "cc-pvtz_fit"]
)
def test_an_auxiliary_set_has_no_orbitals(basis):
    with pytest.raises(PalirsError, match=f"engine.basis = '{basis}': .*auxiliary"):
        PySCF(basis=basis)


@pytest.mark.parametrize(
    ("fields", "lacks"),
    [
        (
            {"functional": "b3lyp", "basis": "cc-pvdz"},
            "cc-pvdz-jkfit.*no Na; give engine.auxiliary_basis=def2-universal-jkfit",
        ),
        ({"functional": "hf", "basis": "aug-cc-pvdz"}, "aug-cc-pvdz-jkfit.*no Na"),
        (
            {"functional": "pbe", "basis": "cc-pvdz", "auxiliary_basis": "cc-pvdz-jkfit"},
            "cc-pvdz-jkfit.*no Na",
        ),
        ({"functional": "pbe", "basis": "cc-pvdz"}, ""),
        ({"functional": "b3lyp", "basis": "def2-svp"}, ""),
        ({"functional": "b3lyp", "basis": "cc-pvdz", "density_fitting": False}, ""),
        (
            {"functional": "b3lyp", "basis": "cc-pvdz", "auxiliary_basis": "def2-universal-jkfit"},
            "",
        ),
    ],
)
def test_elements_that_the_auxiliary_set_lacks_are_found_before_the_first_label(fields, lacks):
    salt = Atoms("NaCl", positions=[[0, 0, 0], [0, 0, 2.4]], info={"molecule": "salt"})
    engine = PySCF(**fields)
    engine.check(molecule("H2O"))
    if not lacks:
        engine.check(salt)
        return
    with pytest.raises(PalirsError, match=f"molecule 'salt': .*{lacks}"):
        engine.check(salt)


def test_exact_exchange_is_told_from_none():
    exact = {
        name: functionals.exact_exchange(name)
        for name in ("hf", "pbe", "b3lyp", "m11-l", "m11,m11", "hse06", "0.2*hf+0.8*pbe,pbe")
    }
    assert [name for name, has in exact.items() if not has] == ["pbe", "m11-l"]


def test_all_elements_of_a_basis_set_are_there():
    assert {1, 6, 8, 53} <= basis_sets.covered("def2-svp")
    assert 53 not in basis_sets.covered("6-31g*")
