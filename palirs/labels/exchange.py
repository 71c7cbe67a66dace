"""Labels that were paid for elsewhere, in; labels as extended XYZ, out.

What comes in is checked before it is believed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

from palirs import keys, units
from palirs.engines import Engine, Properties
from palirs.engines.consistency import MISFIT, consistency, guess
from palirs.geometry.electrons import Electrons
from palirs.labels.labeller import attach
from palirs.labels.record import Record, label_key
from palirs.labels.store import LabelStore
from palirs.molecules import on_grid, read_frames
from palirs.molecules.statements import electrons
from palirs.recipes import PalirsError


def read_labels(
    path: str | Path,
    energy: str | None,
    forces: str | None,
    dipole: str | None,
    unit: Mapping[str, str],
) -> list[tuple[Atoms, Properties]]:
    """Read labelled structures.

    Parameters
    ----------
    path : path
        Extended XYZ, an ASE database, or anything else ASE reads.
    energy, dipole : str or None
        Key in ``info`` (of a database: among the key-value pairs or data); ``None`` for what ASE
        itself found in the file. A dipole that is not there is left out; that of an ion is about
        the mean of the positions of its atoms, as :func:`export_labels` writes it.
    forces : str or None
        Key in ``arrays``, likewise.
    unit : mapping
        Of ``energy``, ``forces``, ``dipole``; see :mod:`palirs.units`.

    Raises
    ------
    PalirsError
        For a missing file or key, an unknown unit, an array of the wrong shape, or a number that is
        not finite; frame and key are named.
    """
    factors = {
        name: _factor(name, unit.get(name, default))
        for name, default in (("energy", "eV"), ("forces", "eV/Å"), ("dipole", "e·Å"))
    }
    if not Path(path).is_file():
        raise PalirsError(f"task.file = {str(path)!r}: there is no such file")
    try:
        frames = list(_frames(path))
    except PalirsError:
        raise
    except Exception as error:
        raise PalirsError(
            f"task.file = {str(path)!r}: ASE cannot read it ({type(error).__name__}: {error})"
        ) from error
    labels = []
    for number, atoms in enumerate(frames):
        where = f"{path}, frame {number} ({atoms.get_chemical_formula()})"
        if atoms.pbc.any():
            raise PalirsError(
                f"{where}: periodic boundary conditions are set; only isolated molecules are "
                "treated"
            )
        e = _take(atoms, energy, "energy", atoms.info, where, 1)
        f = _take(atoms, forces, "forces", atoms.arrays, where, 3 * len(atoms))
        d = _take(atoms, dipole, "dipole", atoms.info, where, 3, needed=False)
        assert e is not None
        assert f is not None
        properties = Properties(
            energy=float(e[0]) * factors["energy"],
            forces=f.reshape(-1, 3) * factors["forces"],
            dipole=None if d is None else d * factors["dipole"],
        )
        info = {
            **electrons(atoms, where).info,
            keys.MOLECULE: str(atoms.info.get(keys.MOLECULE, atoms.get_chemical_formula())),
            keys.ORIGIN: "import",
        }
        labels.append(
            (on_grid(Atoms(atoms.numbers, positions=atoms.positions, info=info)), properties)
        )
    return labels


def check_labels(labels: Sequence[tuple[Atoms, Properties]]) -> list[str]:
    """Check units, keys and consistency of labels; return the results, one line each.

    Raises
    ------
    PalirsError
        If forces do not sum to zero, energies and forces contradict each other, or dipoles are
        larger than molecules are: each of them is usually a wrong unit or key, and the message
        names the unit that would fit.
    """
    if not labels:
        raise PalirsError("there are no labels in the file")
    report = []
    size = max(float(np.sqrt((p.forces**2).mean())) for _, p in labels)
    net = max(float(abs(p.forces.sum(axis=0)).max()) for _, p in labels)
    report.append(f"largest net force {net:.1e} eV/Å, root mean square force up to {size:.2f} eV/Å")
    if net > 0.05 * size + 1e-3:
        raise PalirsError(
            f"forces of a frame sum to {net:.2g} eV/Å where single ones are {size:.2g}: the wrong "
            "key, or not all atoms are there"
        )
    slope = consistency(labels)
    if slope is None:
        report.append(
            "energies against forces: not checked, no two frames of a molecule are close enough"
        )
    else:
        report.append(f"energy differences follow the forces with a factor of {slope:.3f}")
        if not 1 / MISFIT < slope < MISFIT:
            raise PalirsError(
                f"energy differences are {slope:.3g} times what the forces say{guess(slope)}; mend "
                "task.units"
            )
    dipoles = [(a, p.dipole) for a, p in labels if p.dipole is not None]
    report.append(f"{len(dipoles)} of {len(labels)} frames have a dipole")
    for atoms, dipole in dipoles:
        extent = float(np.ptp(atoms.positions, axis=0).max())
        if np.linalg.norm(dipole) > 0.5 * len(atoms) ** 0.5 * max(extent, 1.0):
            if Electrons.of(atoms).charge:
                raise PalirsError(
                    f"a dipole of {np.linalg.norm(dipole):.1f} e·Å in {atoms.info[keys.MOLECULE]}, "
                    "an ion: it has to be about the mean of the positions of its atoms; subtract "
                    "charge × (mean − origin of the program)"
                )
            raise PalirsError(
                f"a dipole of {np.linalg.norm(dipole):.1f} e·Å in {atoms.info[keys.MOLECULE]}, "
                f"which is {extent:.1f} Å long: Debye "
                f"(task.units.dipole=Debye) or atomic units (task.units.dipole=e·Bohr)"
            )
    return report


def verify_labels(
    labels: Sequence[tuple[Atoms, Properties]],
    calculate: Callable[[Sequence[Atoms]], list[Properties]],
    count: int,
) -> str:
    """Calculate some structures again and compare, so that labels of another method are refused.

    Raises
    ------
    PalirsError
        If energies differ by more than 5 meV, forces by more than 20 meV/Å, or dipoles by more than
        0.02 e·Å.
    """
    chosen = [
        labels[i]
        for i in np.linspace(0, len(labels) - 1, min(count, len(labels))).round().astype(int)
    ]
    again = calculate([atoms for atoms, _ in chosen])
    energy = max(abs(new.energy - old.energy) for (_, old), new in zip(chosen, again, strict=True))
    force = max(
        abs(new.forces - old.forces).max() for (_, old), new in zip(chosen, again, strict=True)
    )
    moments = [
        abs(new.dipole - old.dipole).max()
        for (_, old), new in zip(chosen, again, strict=True)
        if new.dipole is not None and old.dipole is not None
    ]
    text = (
        f"{len(chosen)} calculated again: energies within {1e3 * energy:.2g} meV, forces within "
        f"{1e3 * force:.2g} meV/Å"
    )
    text += f", dipoles within {max(moments):.2g} e·Å" if moments else ""
    if energy > 5e-3 or force > 20e-3 or any(moment > 0.02 for moment in moments):
        raise PalirsError(
            f"not labels of this engine, or not in these units ({text}); choose the engine that "
            "made them (verify=0 believes it)"
        )
    return text


def import_labels(
    store: LabelStore, engine: Engine, labels: Sequence[tuple[Atoms, Properties]]
) -> int:
    """Put labels into the store as those of an engine; return how many were new."""
    before = len(store)
    store.write(
        [
            Record(
                label_key(engine, atoms),
                atoms,
                {**engine.identity_for(atoms), "imported": True},
                properties,
            )
            for atoms, properties in labels
        ]
    )
    return len(store) - before


def export_labels(store: LabelStore, engine: Engine, path: str | Path) -> int:
    """Write the labels of an engine to extended XYZ with the project's keys; return how many."""
    frames = [attach(atoms, properties) for atoms, properties, _ in store.select(engine)]
    if not frames:
        raise PalirsError(
            f"label store {store.path}: no labels of {engine.name} ({engine.fingerprint}) to export"
        )
    ase.io.write(path, frames, format="extxyz")
    return len(frames)


def _frames(path: str | Path) -> Iterator[Atoms]:
    if Path(path).suffix == ".db":
        from ase.db import connect

        rows = list(connect(str(path), use_lock_file=False).select())
        engines = {row.engine for row in rows if "label_key" in row and "failure" not in row}
        if len(engines) > 1:
            raise PalirsError(
                f"task.file = {str(path)!r}: labels of {len(engines)} engines; task=export those "
                "of one, and import that"
            )
        for row in rows:
            if "failure" in row:
                continue
            atoms = row.toatoms()
            atoms.info |= {
                **row.key_value_pairs,
                **{key: value for key, value in row.data.items() if not isinstance(value, dict)},
            }
            for key, value in row.data.items():
                if np.shape(value)[:1] == (len(atoms),):
                    atoms.arrays[key] = np.asarray(value)
            yield atoms
    else:
        yield from read_frames(path)


def _take(
    atoms: Atoms,
    key: str | None,
    name: str,
    values: Mapping,
    where: str,
    size: int,
    needed: bool = True,
) -> np.ndarray | None:
    results = atoms.calc.results if atoms.calc is not None else {}
    if key is not None and key in values:
        value = values[key]
    elif (key is None or key.removeprefix("REF_") == name) and name in results:
        value = results[name]
    elif not needed:
        return None
    else:
        kind = "arrays" if name == "forces" else "info"
        raise PalirsError(
            f"{where}: no {name} under the key {key!r}; there are in {kind}: "
            f"{', '.join(map(str, values)) or 'none'}, found by ASE: "
            f"{', '.join(results) or 'none'}. Give task.{name}=<key>, or task.{name}=null for "
            "ASE's own"
        )
    array = np.asarray(value, dtype=float).ravel()
    if array.size != size:
        raise PalirsError(
            f"{where}: {name} under {key!r} has {array.size} numbers, it should have {size}"
        )
    if not np.isfinite(array).all():
        raise PalirsError(f"{where}: {name} under {key!r} is not finite")
    return array


def _factor(name: str, unit: str) -> float:
    table = {"energy": units.ENERGY, "forces": units.FORCE, "dipole": units.DIPOLE}[name]
    if unit not in table:
        raise PalirsError(f"task.units.{name} = {unit!r}: allowed are {', '.join(table)}")
    return table[unit]
