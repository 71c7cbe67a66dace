"""Charge and multiplicity of the molecules that a model has learnt, in the header of its file.

Models see positions of nuclei only, so this is all that tells an ion's model from another. Without
torch: settings are checked by it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ase import Atoms

from palirs import keys
from palirs.geometry.electrons import Electrons
from palirs.recipes import PalirsError

ELECTRONS = "electrons"
"""Key of the header: pairs of charge [e] and 2S + 1."""
EXPORTED = "palirs_electrons"
"""Attribute of a model in MACE's own files: the same pairs. MACE does not read it."""


def stated(learnt: Iterable[Atoms]) -> dict[str, list[tuple[int, int]]]:
    """Return what the header of a model says that has learnt these frames."""
    states = map(Electrons.of, learnt)
    return {ELECTRONS: sorted({(each.charge, each.multiplicity) for each in states})}


def stated_by(module: object) -> dict[str, list[tuple[int, int]]]:
    """Return what the header of a model says that was imported; nothing, if the model says nothing.

    Parameters
    ----------
    module : torch.nn.Module
        From a ``.model`` file.
    """
    pairs = getattr(module, EXPORTED, None)
    return {} if not pairs else {ELECTRONS: sorted((int(one), int(two)) for one, two in pairs)}


def check_start(where: str, about: Mapping[str, Any], molecules: Sequence[Atoms]) -> bool:
    """Raise :class:`PalirsError` if a model to start from has learnt another state.

    Parameters
    ----------
    where : str
        The setting and the file, for the error.
    about : mapping
        Header of the file.
    molecules : sequence of Atoms
        To be learnt.

    Returns
    -------
    bool
        Whether the file says what it has learnt; those of MACE, and older ones, do not.
    """
    if ELECTRONS not in about:
        return False
    known = {Electrons(*map(int, pair)) for pair in about[ELECTRONS]}
    for atoms in molecules:
        if (wanted := Electrons.of(atoms)) not in known:
            raise PalirsError(
                f"{where}: its model has learnt molecules that are "
                f"{' or '.join(sorted(map(str, known)))}, and "
                f"{atoms.info.get(keys.MOLECULE, atoms.symbols)} is {wanted}, which it cannot tell "
                "from a structure; give a model of that state, or scratch"
            )
    return True
