"""Pairs of settings on the command line that exclude each other.

They are refused before anything is computed, with the key and the way out.
"""

import pytest

from tests.cli.composed import check_all, mistake


@pytest.mark.parametrize(
    ("override", "says"),
    [
        (
            "engine=pyscf_pbe engine.functional=wb97m-v",
            ["engine.functional = 'wb97m-v'", "VV10", "dispersion=null", "wb97m-d3bj"],
        ),
        (
            "engine=pyscf_pbe engine.functional=m06-2x",
            ["engine.functional = 'm06-2x'", "d3bj has no parameters", "dispersion=d3zero"],
        ),
        (
            "engine=pyscf_pbe engine.functional=svwn",
            ["engine.functional = 'svwn'", "d3bj has no parameters", "dispersion=null"],
        ),
        (
            "engine=pyscf_pbe engine.functional=b97-3c",
            ["engine.functional = 'b97-3c'", "composite"],
        ),
        (
            "engine=pyscf_pbe engine.functional=pbe-d3",
            ["engine.functional = 'pbe-d3'", "functional=pbe dispersion=d3bj"],
        ),
        (
            "engine=pyscf_pbe engine.functional=b2plyp",
            ["engine.functional = 'b2plyp'", "perturbation"],
        ),
        (
            "engine=pyscf_pbe engine.functional=b88",
            ["engine.functional = 'b88'", "correlation 0", "blyp"],
        ),
        ("engine=pyscf_pbe engine.functional=scanl", ["Laplacian"]),
        (
            (
                "engine=pyscf_pbe engine.density_fitting=false "
                "engine.auxiliary_basis=def2-universal-jkfit"
            ),
            ["engine.auxiliary_basis = 'def2-universal-jkfit'", "density_fitting=true"],
        ),
        (
            "engine=pyscf_pbe engine.functional=b3lyp engine.auxiliary_basis=def2-universal-jfit",
            [
                "engine.auxiliary_basis = 'def2-universal-jfit'",
                "functional=b3lyp has exact exchange",
                "jkfit",
            ],
        ),
        (
            "engine=pyscf_pbe engine.auxiliary_basis=def2-svpd",
            ["engine.auxiliary_basis = 'def2-svpd'", "0.8"],
        ),
        ("engine=pyscf_pbe engine.basis=weigend", ["engine.basis = 'weigend'", "auxiliary"]),
        (
            "engine=pyscf_pbe engine.functional=b3lyp engine.basis=cc-pvdz molecules.names=[NaCl]",
            ["NaCl", "cc-pvdz-jkfit", "Na", "engine.auxiliary_basis=def2-universal-jkfit"],
        ),
        (
            "executor=slurm engine=pyscf_pbe engine.memory=16",
            ["engine.memory = 16 GB", "executor.labels", "8 GB"],
        ),
        (
            "executor=slurm executor.labels.time_limit=20000",
            ["time_limit=20000", "walltime=04:00:00"],
        ),
        (
            "workers@executor.md=slurm evaluation.device=cuda",
            ["evaluation.device = cuda", "executor.md.gpus=1"],
        ),
        (
            "engine=ase engine.calculator._target_=ase.calculators.emt.EMT",
            ["EMT does not give dipole", "properties=[energy,forces]"],
        ),
        (
            (
                "engine=ase engine.calculator._target_=ase.calculators.emt.EMT "
                "engine.properties=[energy,forces] engine.units.dipole=Debye"
            ),
            ["engine.units.dipole = 'Debye'", "engine.properties"],
        ),
        (
            "engine=ase engine.calculator._target_=ase.calculators.orca.ORCA",
            ["engine.own_directory = false", "own_directory=true"],
        ),
        (
            "engine=ase engine.calculator._target_=tblite.ase.TBLite engine.keep=true",
            ["engine.keep", "own_directory=true"],
        ),
        (
            (
                "spectrum.method=schnetpack spectrum.dipole_interval=0.5 "
                "spectrum.production.until=0.05"
            ),
            ["spectrum", "production.until = 0.05"],
        ),
        ("spectrum.window=[500,8000]", ["window", "5000 cm⁻¹"]),
        ("spectrum=paper spectrum.conformers=boltzmann", ["reference.replicas = 1"]),
        ("selector.separation=6000", ["selector.separation = 6000 fs", "5000 fs"]),
        ("selector.least_error=20", ["selector.least_error = 20", "learning.forces_mae = 10"]),
        (
            "training.potential.energy_weight=0 training.potential.forces_weight=0",
            ["potential.energy_weight = 0"],
        ),
        (
            "training=tiny training.potential.schedule=doubling "
            "training.potential.validation_fraction=0.1",
            ["training.potential", "shortest = 4000", "75"],
        ),
        (
            "training.potential.atomic_energies={H:-13.6,C:-1030}",
            ["training.potential.atomic_energies", "no energy of O"],
        ),
        (
            "model.potential.max_L=3 model.potential.max_ell=1 model.potential.correlation=2",
            ["model.potential", "max_L = 3", "max_L=2"],
        ),
        (
            "evaluation.radial=network evaluation.backend=eager",
            ["evaluation", "radial = network", "backend=eager"],
        ),
        (
            "pretraining=gfn1 pretraining.temperatures=[300,300]",
            ["pretraining", "300 K is there twice"],
        ),
        ("initial=paper molecules.names=[HF]", ["initial", "test_fraction"]),
    ],
)
def test_pairs_are_explained(override, says):
    said = mistake(*override.split())
    for text in says:
        assert text in said


@pytest.mark.parametrize(
    "override",
    [
        "engine=pyscf_pbe engine.functional=m06-2x engine.dispersion=d3zero",
        "engine=pyscf_pbe engine.functional=wb97m-v engine.dispersion=null",
        "engine=pyscf_pbe engine.functional=wb97m-d3bj",
        "engine=pyscf_pbe engine.functional=svwn engine.dispersion=null",
        "engine=pyscf_pbe engine.functional=b3lyp engine.auxiliary_basis=def2-universal-jkfit",
        (
            "engine=ase engine.calculator._target_=ase.calculators.emt.EMT "
            "engine.properties=[energy,forces]"
        ),
        "spectrum.conformers=boltzmann",
        "spectrum.method=schnetpack spectrum.dipole_interval=0.5",
        "training.potential.schedule=doubling training.potential.validation_fraction=0.1 "
        "training.potential.updates=64000",
        "initial=paper molecules.names=[H2O]",
        "committee.size=1 selector=random learning.forces_mae=null",
        "experiment=tiny pretraining=gfn1",
    ],
)
def test_what_the_advice_leads_to_passes(override):
    check_all(*override.split())
