"""Sections of the report on spectra: figures, bands, modes, and how alike the spectra are."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from palirs.geometry.symmetry import symmetry_order
from palirs.production import assign
from palirs.report import band_tables, figures, interactive, spectral_figures, transfer_figures
from palirs.report.anharmonic import fundamentals
from palirs.report.sections import Section
from palirs.results import StudyResults
from palirs.results.tables import read_table, write_table
from palirs.spectra import Spectrum, read_spectrum
from palirs.spectra.similarity import mean_metrics, with_intervals
from palirs.vibrations.conformers import populations, read_conformers

SIMILARITY = "Spectra: Pearson correlation (pcc) and Wasserstein distance (wd), with 5 to 95 %"
EQUAL = "The same with the experiment at the resolution of the computed spectra"


def spectra(results: StudyResults) -> list[Section]:
    """Spectrum, bands and similarity of each molecule that has a spectrum, also by region."""
    store, sections, rows, regions, metrics = results.spectra, [], [], [], []
    for molecule in store.molecules:
        shown = store.read(molecule)
        if "predicted" not in shown:
            continue
        compared = {
            key.rpartition(".")[2]: value for key, value in results.compared[molecule].items()
        }
        metrics.append(compared)
        similarity = with_intervals(compared)
        sections += _of_molecule(results, molecule, shown, similarity)
        rows.append({"molecule": molecule, **similarity})
        regions += _regions(molecule, store.comparison.by_region(shown))
    if plots := [section.plot for section in sections if section.plot is not None]:
        page = results.directory / "spectra" / f"spectra-{store.temperature:g}K.html"
        interactive.write_page(plots, page)
    if len(rows) > 1:
        rows.append({"molecule": "mean ± standard error", **mean_in_words(metrics)})
        sheet = transfer_figures.sheet(store)
        sections.append(
            Section("All spectra", figures.save(sheet, results.figure("spectra"), vector=True))
        )
    sections += experiments(results)
    plain = [{key: row[key] for key in row if "_equal" not in key} for row in rows]
    sections.append(Section(SIMILARITY, rows=plain))
    if any("_equal" in key for row in rows for key in row):
        equal = [
            {key: row[key] for key in row if "_equal" in key or key == "molecule"} for row in rows
        ]
        sections.append(Section(EQUAL, rows=equal))
    if regions:
        sections.append(Section("Spectra by region; areas in km/mol", rows=regions))
    return sections


def _regions(
    molecule: str, regions: Mapping[tuple[float, float], Mapping[str, float]]
) -> list[dict[str, object]]:
    return [
        {
            "molecule": molecule,
            "region (cm⁻¹)": f"{low:g} to {high:g}",
            **{
                key: f"{value:.1f}" if key.startswith("area") else f"{value:.3f}"
                for key, value in values.items()
            },
        }
        for (low, high), values in regions.items()
    ]


def experiments(results: StudyResults) -> list[Section]:
    """Files of measured spectra, and how each was read."""
    rows = []
    for molecule, path in results.spectra.experiments.items():
        spectrum = read_spectrum(path)
        row = {"molecule": molecule, "file": str(path), "read as": spectrum.read_as}
        rows.append(row | {"in doubt": spectrum.doubt})
    if not any(row["in doubt"] for row in rows):
        for row in rows:
            del row["in doubt"]
    return [Section("Measured spectra, as they were read", rows=rows)] if rows else []


def conformers(results: StudyResults) -> list[Section]:
    """Energies and populations of the conformers that trajectories start from."""
    rows = []
    temperature = results.spectra.temperature
    for molecule in results.spectra.molecules if results.conformers is not None else ():
        file = results.directory / "conformers" / f"{molecule}.xyz"
        ensemble = read_conformers(file) if file.exists() else []
        shares = populations(ensemble, temperature)
        committee = [float(one.atoms.info["committee_energy_eV"]) for one in ensemble]
        for number, (conformer, share) in enumerate(zip(ensemble, shares, strict=True)):
            rows.append(
                {
                    "molecule": molecule,
                    "conformer": str(number),
                    "energy (meV)": f"{1e3 * (conformer.energy - ensemble[0].energy):+.0f}",
                    "committee's energy (meV)": f"{1e3 * (committee[number] - committee[0]):+.0f}",
                    "order of the point group": str(symmetry_order(conformer.atoms)),
                    f"population at {temperature:g} K": f"{share:.1%}",
                }
            )
    if not rows:
        return []
    weights = "the MD goes on to weigh them"
    if results.conformers == "boltzmann":
        weights = "each trajectory counts by the population"
    return [Section(f"Conformers that trajectories start from; {weights}", rows=rows)]


def mean_in_words(metrics: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """Return means over molecules with standard errors, as text."""
    means = mean_metrics(metrics)
    return {key: f"{mean:.3f} ± {error:.3f}" for key, (mean, error) in means.items()}


def _of_molecule(
    results: StudyResults,
    molecule: str,
    shown: Mapping[str, Spectrum],
    similarity: Mapping[str, str],
) -> list[Section]:
    store = results.spectra
    reference, predicted = results.references[molecule], results.own.get(molecule)
    densities = store.densities(molecule, "predicted")
    computed = {**shown, "experiment": shown["equal"]} if "equal" in shown else shown
    rows = assign(computed, store.window, reference, predicted, densities)
    levels = results.anharmonic(molecule, "committee")
    stem = f"{molecule}-{store.temperature:g}K"
    table = results.directory / "spectra" / f"{stem}-bands.csv"
    write_table(table, rows)
    notes = {
        panel: f"PCC {similarity[f'pcc_{pair}']}, WD {similarity[f'wd_{pair}']}"
        for panel, pair in (("reference", "ml_ref"), ("experiment", "ml_exp"))
        if f"pcc_{pair}" in similarity
    }
    sticks = {
        kind: (vibrations.frequencies, np.asarray(vibrations.intensities))
        for kind, vibrations in (("reference", reference), ("predicted", predicted))
        if vibrations is not None and vibrations.intensities is not None
    }
    anharmonic = results.fundamentals(molecule)
    if anharmonic is not None and "predicted" in sticks:
        sticks["moved"] = (anharmonic, sticks["predicted"][1])
    title = f"{molecule}, {store.temperature:g} K"
    drawn = spectral_figures.spectrum(title, shown, store.window, notes, rows, sticks)
    by_md = densities is not None
    assigned = "MD" if by_md else "harmonic frequencies: the MD has no record of the modes"
    return [
        Section(
            f"Spectrum of {molecule}",
            figures.save(drawn, results.figure(stem), vector=True),
            plot=interactive.spectra_figure(title, shown, read_table(table)),
        ),
        Section(
            f"Bands of {molecule}, assigned by how much each mode moves there ({assigned})",
            rows=band_tables.in_words(rows, fundamentals(levels)),
        ),
    ]


def modes(results: StudyResults) -> list[Section]:
    """Motion of each normal mode, and its frequency and intensity by engine and committee."""
    sections = []
    for molecule, reference in results.references.items():
        rows = band_tables.mode_table(reference, results.own.get(molecule))
        write_table(results.directory / "spectra" / f"{molecule}-modes.csv", rows)
        sections.append(Section(f"Normal modes of {molecule}", rows=rows))
    return sections


def temperatures(results: StudyResults) -> list[Section]:
    """Spectra of each molecule at several temperatures, and their similarity to the reference."""
    sections: list[Section] = []
    rows: list[dict[str, object]] = []
    store = results.spectra
    for molecule in store.molecules:
        shown = store.by_temperature(molecule)
        if len(shown) < 2:
            continue
        notes = {}
        for temperature in shown:
            compared = with_intervals(replace(store, temperature=temperature).compare(molecule))
            similarity = {
                key.rpartition(".")[2]: text
                for key, text in compared.items()
                if key.endswith(("ml_ref", "ref_ref"))
            }
            rows.append({"molecule": molecule, "temperature_K": temperature, **similarity})
            if "pcc_ml_ref" in similarity:
                notes[temperature] = f"PCC {similarity['pcc_ml_ref']}"
        drawn = spectral_figures.temperatures(molecule, shown, store.window, notes)
        file = figures.save(drawn, results.figure(f"{molecule}-temperatures"), vector=True)
        sections.append(Section(f"{molecule} at several temperatures", file))
    if rows:
        write_table(results.directory / "spectra" / "temperatures.csv", rows)
        sections.append(Section("Prediction against reference by temperature", rows=rows))
    return sections


def lengths(results: StudyResults) -> list[Section]:
    """Similarity against the length of the MD, for each molecule with something to compare with."""
    store, sections = results.spectra, []
    for molecule in store.molecules:
        curves = store.comparison.by_length(store.read(molecule), molecule)
        if curves:
            name = f"{molecule}-{store.temperature:g}K-lengths"
            drawn = spectral_figures.lengths(molecule, curves)
            file = figures.save(drawn, results.figure(name))
            sections.append(Section(f"How much MD a spectrum of {molecule} needs", file))
    return sections
