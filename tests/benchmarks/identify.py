"""Which molecule is it? How often the right one comes first, fits, and is told from the others.

    python -m tests.benchmarks.identify [records] [engine]

Records: a directory of measured gas-phase spectra, ``<molecule>.jdx``, by default those beside the
checkout. Candidates are the 24 molecules of ``organics24`` by harmonic vibrations of an engine
(gfn2 or gfn1). The records of ``transfer8`` are of molecules that are not among them; with these
molecules added they test what was chosen by the others. Tables in Markdown, with 5th to 95th
percentiles over molecules drawn anew.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from palirs import keys
from palirs.engines import TBLite
from palirs.molecules import Molecules
from palirs.spectra import Spectrum
from palirs.spectra.compare import WINDOW
from palirs.spectra.identification import verdict
from palirs.spectra.identification.matching import Match, Matching, matches
from palirs.spectra.identification.sticks import stick_spectrum
from palirs.spectra.lags import friction_of_width, lag_of_width
from palirs.spectra.measured.baseline import measured
from palirs.vibrations import minimum

RECORDS = Path(__file__).parents[3] / "shared" / "data" / "experiment"
ENGINES = {"gfn2": TBLite(method="GFN2-xTB"), "gfn1": TBLite(method="GFN1-xTB")}
FRICTION = friction_of_width(18.0)
MAX_LAG = lag_of_width(18.0, "hann", FRICTION)
"""Of the default study's resolution, 18 cm⁻¹ [fs, ps⁻¹]."""
DEFAULT = Matching(max_lag=MAX_LAG, friction=FRICTION, broadening=24.0)
AS_MEASURED = {"max_lag": 1e5, "friction": 0.0, "broadening": None}
"""Records as they are: a window so deep makes no line wider."""
LEVELS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)


def harmonic_spectra(names: Sequence[str], engine: TBLite) -> dict[str, Spectrum]:
    """Return the harmonic spectra of molecules by name."""
    spectra = {}
    for atoms in Molecules(names=tuple(names)).load():
        found = minimum(atoms, engine)
        assert found.intensities is not None
        spectra[str(atoms.info[keys.MOLECULE])] = stick_spectrum(
            found.frequencies, found.intensities, MAX_LAG, friction=FRICTION
        )
    return spectra


def rank_of(name: str, ranked: Sequence[Match]) -> int:
    """Return the rank of a candidate, from 1."""
    return 1 + [match.name for match in ranked].index(name)


def over_molecules(values: Sequence[float] | np.ndarray, digits: int = 2) -> str:
    """Return a mean with the 5th and 95th percentile over molecules drawn anew."""
    rng = np.random.default_rng(0)
    array = np.asarray(values, dtype=float)
    means = array[rng.integers(len(array), size=(4000, len(array)))].mean(axis=1)
    low, high = np.percentile(means, (5, 95))
    return f"{array.mean():.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def print_settings(records: Mapping[str, Spectrum], spectra: Mapping[str, Spectrum]) -> None:
    """Print how often the right molecule comes first, by resolution, exponent and scale."""
    resolutions = {
        "as measured": AS_MEASURED,
        "of computed spectra": {"broadening": None},
        "and 24 cm⁻¹": {"broadening": 24.0},
        "and 67 cm⁻¹": {"broadening": 67.0},
        "and 100 cm⁻¹": {"broadening": 100.0},
        "and 150 cm⁻¹": {"broadening": 150.0},
    }
    print(
        "| lines | exponent | factor | first | less than by default | in first three | mean rank |"
    )
    print("| --- " * 7 + "|")
    quick = replace(DEFAULT, samples=1)
    usual = np.array([rank_of(name, matches(one, spectra, quick)) for name, one in records.items()])
    for text, resolution in resolutions.items():
        for exponent in (1.0, 0.5):
            for factor, scale in (("1", (1.0, 1.0)), ("fitted", DEFAULT.scale)):
                matching = replace(DEFAULT, **resolution, exponent=exponent, scale=scale, samples=1)
                ranks = np.array(
                    [
                        rank_of(name, matches(one, spectra, matching))
                        for name, one in records.items()
                    ]
                )
                cells = [text, f"{exponent:g}", factor, over_molecules(ranks == 1)]
                cells += [over_molecules(1.0 * (usual == 1) - (ranks == 1))]
                cells += [over_molecules(ranks <= 3), over_molecules(ranks, 1)]
                print(f"| {' | '.join(cells)} |", flush=True)


def print_molecules(
    records: Mapping[str, Spectrum],
    ranked: Mapping[str, Sequence[Match]],
    unscaled: Mapping[str, Sequence[Match]],
    raw: Mapping[str, Sequence[Match]],
    raw_unscaled: Mapping[str, Sequence[Match]],
) -> None:
    """Print the rank of the right molecule of each record, and what is said of it."""
    print("| record | rank | factor 1 | as measured | and factor 1 | similarity | factor | first |")
    print("| --- " * 8 + "|")
    for name in records:
        own = ranked[name][rank_of(name, ranked[name]) - 1]
        others = [match.name for match in verdict.alike(ranked[name])]
        low, high = own.interval
        ranks = [str(rank_of(name, kind[name])) for kind in (ranked, unscaled, raw, raw_unscaled)]
        cells = [name, *ranks, f"{own.similarity:.2f} ({low:.2f} to {high:.2f})"]
        cells += [f"{own.scale:.3f}" + "*" * own.at_bound]
        cells += [ranked[name][0].name + f" or {len(others)} more" * bool(others)]
        print(f"| {' | '.join(cells)} |")


def print_told(ranked: Mapping[str, Sequence[Match]]) -> None:
    """Print how often the right molecule is the first or one that is not told from it."""
    covered, sizes = [], []
    for name, found in ranked.items():
        names = [found[0].name, *(match.name for match in verdict.alike(found))]
        covered.append(name in names)
        sizes.append(len(names))
    print(f"among the first and those not told from it: {over_molecules(covered)}")
    print(f"that many candidates: {over_molecules(sizes, 1)}, median {np.median(sizes):.0f}")
    single = [
        name == found[0].name
        for (name, found), size in zip(ranked.items(), sizes, strict=True)
        if size == 1
    ]
    print(f"told from all others: {len(single)} records, right in {sum(single)}")


def print_levels(kinds: Mapping[str, Sequence[float]]) -> None:
    """Print which share of highest similarities lies above each level."""
    print(
        "| least | "
        + " | ".join(f"{kind} ({len(values)})" for kind, values in kinds.items())
        + " |"
    )
    print("| --- " * (1 + len(kinds)) + "|")
    for level in LEVELS:
        cells = [over_molecules(np.array(values) >= level) for values in kinds.values()]
        print(f"| {level:.2f} | {' | '.join(cells)} |")


def main() -> None:
    """Print the tables of ``docs/results/identify.md``."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else RECORDS
    engine = ENGINES[sys.argv[2] if len(sys.argv) > 2 else "gfn2"]
    spectra = harmonic_spectra(["organics24"], engine)
    added = harmonic_spectra(["transfer8"], engine)
    every = {
        name: measured(file, WINDOW)
        for name in (*spectra, *added)
        if (file := folder / f"{name}.jdx").is_file()
    }
    records = {name: record for name, record in every.items() if name in spectra}
    print(f"{len(records)} records, {len(every)} with those of transfer8; {engine.name}\n")
    print_settings(records, spectra)
    ranked = {name: matches(one, spectra, DEFAULT) for name, one in every.items()}
    kinds = [
        {
            name: matches(one, spectra, replace(DEFAULT, samples=1, **kind))
            for name, one in records.items()
        }
        for kind in (
            {"scale": (1.0, 1.0)},
            AS_MEASURED,
            AS_MEASURED | {"scale": (1.0, 1.0)},
        )
    ]
    print()
    own = {name: ranked[name] for name in records}
    print_molecules(records, own, *kinds)
    factors = [own[name][rank_of(name, own[name]) - 1].scale for name in records]
    print(
        f"\nfactor of the right ones: {over_molecules(factors, 3)}, "
        f"standard deviation {np.std(factors, ddof=1):.3f}\n"
    )
    print_told(own)
    all_candidates = {name: matches(one, spectra | added, DEFAULT) for name, one in every.items()}
    print("\nall candidates, all records:")
    print_told(all_candidates)
    others = [name for name in every if name not in records]
    print()
    print_levels(
        {
            "the right one": [
                found[rank_of(name, found) - 1].similarity for name, found in own.items()
            ],
            "first of all": [found[0].similarity for found in own.values()],
            "first without the right one": [
                next(match.similarity for match in found if match.name != name)
                for name, found in own.items()
            ],
            "transfer8: the right one": [
                found[rank_of(name, found) - 1].similarity
                for name, found in all_candidates.items()
                if name in others
            ],
            "transfer8: first without it": [ranked[name][0].similarity for name in others],
        }
    )


if __name__ == "__main__":
    main()
