"""The sections of the report about spectra: figure, bands and modes of each molecule, and how alike the spectra are."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from palirs.geometry.symmetry import symmetry_order
from palirs.report import bands, figures, interactive, spectral_figures, transfer_figures
from palirs.report.comparison import with_intervals
from palirs.report.sections import Findings, Section
from palirs.report.tables import read_table, write_table
from palirs.spectra import Spectrum, read_spectrum
from palirs.vibrations.conformers import populations, read_conformers

ALIKE = "Spectra: Pearson correlation (pcc) and Wasserstein distance (wd), with 5 to 95 %"
EQUAL = "The same with the experiment at the resolution of the computed spectra"


def spectra(found: Findings) -> list[Section]:
    """Spectrum, bands and modes of each molecule that has a spectrum; how alike it is to reference and experiment, also by region."""
    shelf, sections, rows, regions, numbers = found.shelf, [], [], [], []
    for name in shelf.molecules:
        known = shelf.known(name)
        if "predicted" not in known:
            continue
        compared = found.compared[name]
        numbers.append(
            {
                key.rpartition(".")[2]: value
                for key, value in compared.items()
                if not key.endswith(("_low", "_high"))
            }
        )
        told = {key.rpartition(".")[2]: text for key, text in with_intervals(compared).items()}
        sections += _of_molecule(found, name, known, told)
        rows.append({"molecule": name, **told})
        regions += [{"molecule": name, **row} for row in shelf.by_region(name)]
    if drawn := [section.plot for section in sections if section.plot is not None]:
        interactive.write_page(
            drawn, found.directory / "spectra" / f"spectra-{shelf.temperature:g}K.html"
        )
    if len(rows) > 1:
        rows.append({"molecule": "mean ± standard error", **mean(numbers)})
        sections.append(
            Section(
                "All spectra",
                figures.save(transfer_figures.sheet(shelf), found.figure("spectra"), vector=True),
            )
        )
    sections += experiments(found)
    sections.append(
        Section(
            ALIKE,
            rows=[{key: text for key, text in row.items() if "_equal" not in key} for row in rows],
        )
    )
    if any("_equal" in key for row in rows for key in row):
        equal = [
            {key: text for key, text in row.items() if "_equal" in key or key == "molecule"}
            for row in rows
        ]
        sections.append(Section(EQUAL, rows=equal))
    if regions:
        sections.append(Section("Spectra by region; areas in km/mol", rows=regions))
    return sections


def experiments(found: Findings) -> list[Section]:
    """Files of measured spectra, and how each was read."""
    shelf, rows = found.shelf, []
    for name, path in shelf.settings.experiments(shelf.molecules).items():
        spectrum = read_spectrum(path)
        rows.append(
            {
                "molecule": name,
                "file": str(path),
                "read as": spectrum.read_as,
                "in doubt": spectrum.doubt,
            }
        )
    if not any(row["in doubt"] for row in rows):
        rows = [{key: text for key, text in row.items() if key != "in doubt"} for row in rows]
    return [Section("Measured spectra, as they were read", rows=rows)] if rows else []


def conformers(found: Findings) -> list[Section]:
    """Energies and populations of the conformers that trajectories start from."""
    rows = []
    for name in found.shelf.molecules if found.shelf.settings.conformers is not None else ():
        file = found.directory / "conformers" / f"{name}.xyz"
        known = read_conformers(file) if file.exists() else []
        for number, (one, share) in enumerate(
            zip(known, populations(known, found.shelf.temperature), strict=True)
        ):
            theirs = float(one.atoms.info["committee_energy_eV"]) - float(
                known[0].atoms.info["committee_energy_eV"]
            )
            rows.append(
                {
                    "molecule": name,
                    "conformer": str(number),
                    "energy (meV)": f"{1e3 * (one.energy - known[0].energy):+.0f}",
                    "committee's energy (meV)": f"{1e3 * theirs:+.0f}",
                    "order of the point group": str(symmetry_order(one.atoms)),
                    f"population at {found.shelf.temperature:g} K": f"{share:.1%}",
                }
            )
    how = (
        "each trajectory counts by the population"
        if found.shelf.settings.conformers == "boltzmann"
        else "the MD goes on to weigh them"
    )
    return [Section(f"Conformers that trajectories start from; {how}", rows=rows)] if rows else []


def mean(numbers: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """Return the means over molecules of what at least two of them have, with their standard errors, as text."""
    told = {}
    for key in dict.fromkeys(key for one in numbers for key in one):
        values = np.array([one[key] for one in numbers if key in one])
        if len(values) > 1:
            told[key] = f"{values.mean():.3f} ± {values.std(ddof=1) / np.sqrt(len(values)):.3f}"
    return told


def _of_molecule(
    found: Findings, name: str, known: Mapping[str, Spectrum], told: Mapping[str, str]
) -> list[Section]:
    shelf, reference, own = found.shelf, found.references[name], found.own.get(name)
    seen = {**known, "experiment": known["equal"]} if "equal" in known else known
    assigned = bands.table(
        seen, shelf.settings.window, reference, own, shelf.densities(name, "predicted")
    )
    stem = f"{name}-{shelf.temperature:g}K"
    place = found.directory / "spectra"
    write_table(place / f"{stem}-bands.csv", assigned)
    notes = {
        panel: f"PCC {told[f'pcc_{short}']}, WD {told[f'wd_{short}']}"
        for panel, short in (("reference", "ml_ref"), ("experiment", "ml_exp"))
        if f"pcc_{short}" in told
    }
    sticks = {
        key: (one.frequencies, np.asarray(one.intensities))
        for key, one in (("reference", reference), ("predicted", own))
        if one is not None and one.intensities is not None
    }
    drawn = spectral_figures.spectrum(
        f"{name}, {shelf.temperature:g} K", known, shelf.settings.window, notes, assigned, sticks
    )
    title = f"{name}, {shelf.temperature:g} K"
    plot = interactive.spectra_figure(title, known, read_table(place / f"{stem}-bands.csv"))
    how = (
        "MD"
        if shelf.densities(name, "predicted") is not None
        else "harmonic frequencies: the MD has no record of the modes"
    )
    return [
        Section(
            f"Spectrum of {name}", figures.save(drawn, found.figure(stem), vector=True), plot=plot
        ),
        Section(
            f"Bands of {name}, assigned by how much each mode moves there ({how})",
            rows=bands.in_words(assigned),
        ),
    ]


def modes(found: Findings) -> list[Section]:
    """Tell the normal modes of each molecule: what moves, and frequency and intensity by the engine and by the committee."""
    sections = []
    for name, reference in found.references.items():
        rows = bands.mode_table(reference, found.own.get(name))
        write_table(found.directory / "spectra" / f"{name}-modes.csv", rows)
        sections.append(Section(f"Normal modes of {name}", rows=rows))
    return sections


def temperatures(found: Findings) -> list[Section]:
    """Spectra of each molecule that has some at several temperatures, and how alike they are to the reference's."""
    sections: list[Section] = []
    rows: list[dict[str, object]] = []
    for name in found.shelf.molecules:
        known = found.shelf.temperatures(name)
        if len(known) < 2:
            continue
        notes = {}
        for temperature in sorted(known):
            told = {
                key.rpartition(".")[2]: text
                for key, text in with_intervals(
                    replace(found.shelf, temperature=temperature).compare(name)
                ).items()
            }
            alike = {key: text for key, text in told.items() if key.endswith(("ml_ref", "ref_ref"))}
            rows.append({"molecule": name, "temperature_K": temperature, **alike})
            if "pcc_ml_ref" in alike:
                notes[temperature] = f"PCC {alike['pcc_ml_ref']}"
        drawn = spectral_figures.temperatures(name, known, found.shelf.settings.window, notes)
        sections.append(
            Section(
                f"{name} at several temperatures",
                figures.save(drawn, found.figure(f"{name}-temperatures"), vector=True),
            )
        )
    if rows:
        write_table(found.directory / "spectra" / "temperatures.csv", rows)
        sections.append(Section("Prediction against reference by temperature", rows=rows))
    return sections


def lengths(found: Findings) -> list[Section]:
    """How alike spectra of less MD would be, for each molecule with a spectrum of several parts and something to compare with."""
    sections = []
    for name in found.shelf.molecules:
        curves = found.shelf.by_length(name)
        if curves:
            drawn = figures.save(
                spectral_figures.lengths(name, curves),
                found.figure(f"{name}-{found.shelf.temperature:g}K-lengths"),
            )
            sections.append(Section(f"How much MD a spectrum of {name} needs", drawn))
    return sections
