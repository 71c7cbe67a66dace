"""Tasks on labels and engines, and the download of measured spectra."""

import re
from pathlib import Path

import ase.io

from palirs import keys
from palirs.engines.contract import contract as engine_contract
from palirs.labels import exchange
from palirs.molecules import check as check_molecule
from palirs.molecules import read_frames
from palirs.recipes import PalirsError
from palirs.spectra.measured import webbook
from palirs.study.session import Session
from palirs.study.task import task


@task(lock=False)
def label(session: Session, frames: str | None, output: str, check: bool) -> None:
    """Label every structure of a file with the engine and write them as extended XYZ.

    Parameters
    ----------
    session : Session
        The study; its label store is used.
    frames : str
        File with structures, any format ASE reads.
    output : str
        File to write, relative to the study directory.
    check : bool
        Check the engine instead; see :func:`contract`.
    """
    if check:
        contract(session)
        return
    assert frames is not None, "check_files has seen to it"
    structures = read_frames(frames)
    stem = re.sub(r"\s+", "_", Path(frames).stem)  # names have no blanks
    for number, atoms in enumerate(structures):
        atoms.info.setdefault(keys.MOLECULE, f"{stem}-{number}")
        check_molecule(atoms)
        session.settings.engine.check(atoms)
    labelled = session.labeller.label(structures, "labels")
    ase.io.write(session.directory / output, labelled, format="extxyz")
    failed = len(structures) - len(labelled)
    print(
        f"{len(labelled)} labelled frames in {session.directory / output}, {failed} failed "
        f"(reasons in {session.labeller.store.path})"
    )


@task(lock=False)
def contract(session: Session) -> None:
    """Check derivatives, symmetries, units and failures of the engine on the first molecule.

    Raises
    ------
    PalirsError
        If a check fails.
    """
    engine, atoms = session.settings.engine, session.molecules[0]
    print(f"{engine.name} on {atoms.info[keys.MOLECULE]}; {engine.identity}")
    failed = 0
    for finding in engine_contract(engine, atoms):
        print(finding, flush=True)
        failed += not finding.passed
    if failed:
        raise PalirsError(
            f"{engine.name} fails {failed} of the checks; a model trained on it would learn its "
            "mistakes"
        )
    print("the engine fulfils the contract")


@task(lock=False)
def import_labels(
    session: Session,
    file: str,
    energy: str | None,
    forces: str | None,
    dipole: str | None,
    units: dict[str, str],
    verify: int,
) -> None:
    """Import labels that were calculated elsewhere, as labels of the configured engine.

    Parameters
    ----------
    session : Session
        The study; its engine and label store are used.
    file : str
        Extended XYZ or ASE database.
    energy, forces, dipole : str or None
        Keys in the file.
    units : dict
        Of the three.
    verify : int
        Structures to calculate again and compare.
    """
    labels = exchange.read_labels(file, energy, forces, dipole, units)
    for line in exchange.check_labels(labels):
        print(line)
    engine = session.settings.engine
    for atoms, _ in labels:
        check_molecule(atoms, ground_state=False)
        engine.check(atoms)
    if verify:
        print(exchange.verify_labels(labels, engine.calculate, verify))
    new = exchange.import_labels(session.labeller.store, engine, labels)
    print(
        f"{new} labels of {engine.name} imported into {session.labeller.store.path}, "
        f"{len(labels) - new} were there already"
    )


@task(lock=False, engine=False)
def export_labels(session: Session, output: str) -> None:
    """Write every label of the configured engine as extended XYZ.

    Parameters
    ----------
    session : Session
        The study; its engine and label store are used.
    output : str
        File to write, relative to the study directory.
    """
    count = exchange.export_labels(
        session.labeller.store, session.settings.engine, session.directory / output
    )
    print(
        f"{count} labels in {session.directory / output}: {keys.ENERGY} [eV], {keys.FORCES} "
        f"[eV/Å], {keys.DIPOLE} [e·Å]"
    )


@task(lock=False, engine=False)
def fetch(session: Session, cas: dict[str, str], folder: str, delay: float) -> None:
    """Download measured gas-phase spectra, and print the setting that names the best ones.

    Parameters
    ----------
    session : Session
        The study; only its molecules and the window of its spectra are looked at.
    cas : dict
        CAS numbers of molecules that the NIST WebBook does not know by their name.
    folder : str
        Where the files go.
    delay : float
        Between requests [s].
    """
    names = [str(atoms.info[keys.MOLECULE]) for atoms in session.molecules]
    if unknown := set(cas) - set(names):
        raise PalirsError(
            f"task.cas: {', '.join(sorted(unknown))} not among the molecules {', '.join(names)}"
        )
    chosen, failed = {}, []
    for name in names:
        try:
            records = webbook.fetch(
                name, cas.get(name, name.replace("_", " ")), Path(folder), delay
            )
        except PalirsError as error:  # the others may be there
            failed.append(str(error))
            continue
        for record in records:
            print(
                f"{record.path}: {record.source or 'unknown collection'}, "
                f"{'gas' if record.gas else 'not gas'}, {_range(record)}"
            )
        if best := webbook.best(records, session.settings.spectrum.window):
            chosen[name] = str(best.path)
        else:
            failed.append(
                f"{name!r}: none of its {len(records)} spectra is of the gas phase and can be read"
            )
    if chosen:
        print(
            "spectrum.experiment='{"
            + ", ".join(f"{name}: {path}" for name, path in chosen.items())
            + "}'"
        )
    if failed:
        raise PalirsError("\n".join(failed))


def _range(record: webbook.Record) -> str:
    if record.spectrum is None:
        return record.problem
    x = record.spectrum.wavenumber
    return f"{x[0]:.0f} to {x[-1]:.0f} cm⁻¹, {len(x)} points"
