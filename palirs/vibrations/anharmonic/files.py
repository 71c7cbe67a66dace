"""Files of an anharmonic calculation: its force fields, from which levels are solved again."""

import json
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from palirs.recipes import PalirsError
from palirs.vibrations.analysis import Harmonic
from palirs.vibrations.anharmonic import rotation
from palirs.vibrations.anharmonic.calculation import Anharmonic, level_name
from palirs.vibrations.anharmonic.force_field import ForceField
from palirs.vibrations.anharmonic.isotopologues import like_parent
from palirs.vibrations.anharmonic.levels import Resonances
from palirs.vibrations.anharmonic.rotor_levels import InternalRotation
from palirs.vibrations.naming import characters

Row = dict[str, object]
ROTOR = "by perturbation theory, which the molecule's own internal rotation is not"
ISOTOPOLOGUES = "isotopologues"
"""Folder of them in the directory of a molecule, each in a folder with its name."""


def save(result: Anharmonic, settings: dict, place: Path) -> None:
    """Write force fields and vibrations to a directory, which appears by one rename.

    Parameters
    ----------
    result : Anharmonic
        Of one molecule.
    settings : dict
        What it was calculated with, for :func:`saved_settings`.
    place : Path
        The directory; one that exists is replaced.
    """
    for left in place.parent.glob(f"{place.name}.*.part"):  # of a program that was killed
        shutil.rmtree(left)
    part = place.with_name(f"{place.name}.{os.getpid()}.part")
    part.mkdir(parents=True)
    result.force_field.save(part / "force_field.npz")
    result.unextrapolated_field.save(part / "unextrapolated.npz")
    for number, field in enumerate(result.member_fields):
        field.save(part / f"member-{number}.npz")
    np.savez_compressed(
        part / "vibrations.npz",
        frequencies=result.vibrations.frequencies,
        modes=result.vibrations.modes,
        in_field=result.modes,
    )
    (part / "settings.json").write_text(json.dumps(settings))
    shutil.rmtree(place, ignore_errors=True)
    part.rename(place)


def saved_settings(place: Path) -> dict | None:
    """Return the settings of the calculation in a directory, if there is one."""
    file = place / "settings.json"
    return json.loads(file.read_text()) if file.exists() else None


def note_isotopologues(place: Path, masses: Mapping[str, np.ndarray]) -> None:
    """Write which isotopologues are asked for, beside the directory, which is replaced as a whole.

    Their masses [amu] by name; a task that is killed, or fails, finds them in its next run.
    """
    file = _asked_for(place)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps({name: own.tolist() for name, own in masses.items()}))
    part.replace(file)


def _asked_for(place: Path) -> Path:
    return place.with_name(f"{place.name}.isotopologues.json")


def saved_isotopologues(place: Path) -> dict[str, np.ndarray]:
    """Return the masses [amu] of the isotopologues that were asked for, by name."""
    if (file := _asked_for(place)).exists():
        return {name: np.array(own) for name, own in json.loads(file.read_text()).items()}
    summaries = sorted((place / ISOTOPOLOGUES).glob("*/summary.json"))
    return {
        file.parent.name: np.array(json.loads(file.read_text())["masses_amu"]) for file in summaries
    }


def load(place: Path, resonances: Resonances | None = None) -> Anharmonic:
    """Read force fields and solve them for levels; no force is calculated.

    Parameters
    ----------
    place : Path
        A directory that :func:`save` wrote.
    resonances : Resonances, optional
        Thresholds, which may be others than before.
    """
    if not (place / "vibrations.npz").exists():
        raise PalirsError(f"{place}: there is no force field; task=anharmonic makes one")
    field = ForceField.load(place / "force_field.npz")
    coarse = ForceField.load(place / "unextrapolated.npz")
    members = [ForceField.load(file) for file in sorted(place.glob("member-*.npz"))]
    with np.load(place / "vibrations.npz") as data:
        vibrations = Harmonic(field.atoms, data["frequencies"], data["modes"])
        modes = data["in_field"]
    return Anharmonic.of(vibrations, modes, field, coarse, members, resonances)


def save_paths(paths: Mapping[int, rotation.Path], place: Path) -> None:
    """Write the paths of internal rotations, by their mode, to a directory of :func:`save`."""
    part = place / f"rotations.{os.getpid()}.part.npz"
    arrays = {
        f"{mode}.{name}": value
        for mode, path in paths.items()
        for name, value in vars(path).items()
    }
    np.savez_compressed(part, modes=np.array(list(paths), dtype=int), **arrays)
    part.rename(place / "rotations.npz")


def load_paths(place: Path) -> dict[int, rotation.Path] | None:
    """Read the paths that :func:`save_paths` wrote; ``None`` if it did not."""
    file = place / "rotations.npz"
    if not file.exists():
        return None
    with np.load(file, allow_pickle=False) as data:
        return {
            mode: rotation.Path(
                tuple(data[f"{mode}.bond"].tolist()),
                int(data[f"{mode}.fold"]),
                *(data[f"{mode}.{name}"] for name in ("constants", "potentials", "zero_points")),
            )
            for mode in data["modes"].tolist()
        }


def _rotation_cells(solved: InternalRotation) -> Row:
    """Return what the row of a mode has by its internal rotation."""
    return {
        "deperturbed_cm1": float(solved.fundamental),
        "share": 1.0,
        "with": "",
        "anharmonic_cm1": float(solved.fundamental),
        "spread_cm1": float(solved.spread),
        "rotor_levels": solved.levels,
        "caveat": solved.reason,
    }


def level_rows(
    result: Anharmonic, rotations: Mapping[int, InternalRotation] | None = None
) -> list[Row]:
    """Return a row for each level: fundamentals, then levels of two quanta.

    ``rotations``, by mode, replace the level that perturbation theory has for the fundamental.
    """
    motions = [str(character) for character in characters(result.vibrations)]
    levels, rows = result.levels, []
    energies, spread, reasons = result.energies(), result.spread, result.reasons()
    for place, level in enumerate(levels.quanta):
        row: Row = {"level": level_name(level, result.modes)}
        if sum(level) == 1:
            row["motion"] = motions[int(result.modes[level.index(1)])]
        row["harmonic_cm1"] = float(levels.harmonic[place])
        row["anharmonic_cm1"] = float(energies[place])
        row["spread_cm1"] = float(spread[place])
        row["deperturbed_cm1"] = float(levels.deperturbed[place])
        row["share"] = float(levels.weights[place])
        row["with"] = ", ".join(
            f"{level_name(partner, result.modes)} {share:.0%}"
            for partner, share in levels.partners[place].items()
        )
        row["caveat"] = "; ".join(reasons[place])
        mode = int(result.modes[level.index(max(level))])
        if sum(level) == 1 and rotations and mode in rotations:
            row |= _rotation_cells(rotations[mode])
        rows.append(row)
    return rows


def isotopologue_rows(
    own: Anharmonic, parent: Anharmonic, rotations: Collection[int] = ()
) -> list[Row]:
    """Return :func:`level_rows` of an isotopologue; a fundamental beside that of the molecule.

    ``parent`` is the molecule's mode that is most like it, ``parent_share`` how much, and
    ``parent_cm1`` its fundamental, by perturbation theory as its own. Of modes in ``rotations`` the
    molecule has a better one, and a caveat says so.
    """
    alike, energies, rows = like_parent(own, parent), parent.energies(), level_rows(own)
    for row, (place, share) in zip(rows, alike, strict=False):  # fundamentals are first
        row["parent"] = f"ν{parent.modes[place] + 1}"
        row["parent_share"] = share
        row["parent_cm1"] = float(energies[place])
        if int(parent.modes[place]) in rotations:
            row["caveat"] = "; ".join(filter(None, [ROTOR, str(row["caveat"])]))
    return rows


def left_out(
    result: Anharmonic, rotations: Mapping[int, InternalRotation] | None = None
) -> Sequence[Row]:
    """Return a row for each mode without a force field; see :func:`level_rows`."""
    missing = np.setdiff1d(np.arange(len(result.vibrations.frequencies)), result.modes)
    motions = [str(character) for character in characters(result.vibrations)]
    return [
        {
            "level": f"ν{mode + 1}",
            "motion": motions[mode],
            "harmonic_cm1": float(result.vibrations.frequencies[mode]),
            "caveat": "a free rotor; it is left out of the force field",
            **(_rotation_cells(rotations[mode]) if rotations and mode in rotations else {}),
        }
        for mode in missing
    ]


def summary(result: Anharmonic) -> dict:
    """Return zero-point energy and rotational constants, with the spread of the members."""
    field, levels = result.force_field, result.levels
    harmonic = float(result.vibrations.frequencies.clip(0).sum() / 2)
    unsure = "a rotor or a double well has a share in it" if result.rotors() else ""
    return {
        "zero_point_cm1": levels.zero_point,
        "zero_point_caveat": unsure,
        "zero_point_spread_cm1": result.zero_point_spread,
        "harmonic_zero_point_cm1": harmonic,
        "equilibrium_rotational_constants_cm1": field.rotational_constants.tolist(),
        "rotational_constants_cm1": levels.rotational_constants.tolist(),
        "rotational_constants_spread_cm1": result.rotational_spread.tolist(),
        "fermi_resonances": [
            [int(mode) + 1 for mode in result.modes[list(three)]] for three in levels.fermi
        ],
        "resonances": asdict(result.resonances),
    }
