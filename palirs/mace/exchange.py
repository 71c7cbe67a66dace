"""Export to and import from MACE's own ``.model`` files.

They are pickles: opening one runs whatever code its author put there. Everything else in
palirs reads safetensors (:mod:`palirs.mace.models.files`). An exported potential opens in
``mace.calculators.MACECalculator``; an exported dipole model too (``model_type="DipoleMACE"``,
dipoles in e·Å), where palirs is installed.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from palirs.mace.backend import (
    NonLinearReadoutBlock,
    RealAgnosticInteractionBlock,
    RealAgnosticResidualInteractionBlock,
    ScaleShiftMACE,
    building,
    extract_config_mace_model,
    quietly,
    remove_pt_head,
)
from palirs.mace.models.dipole import DipoleNetwork, DipoleShape
from palirs.mace.models.files import header, read, save
from palirs.mace.models.graphs import graph
from palirs.mace.models.learnt import ELECTRONS, EXPORTED, stated_by
from palirs.mace.models.potential import PotentialShape
from palirs.mace.models.shape import Shape
from palirs.mace.pickles import PICKLE, load_pickle
from palirs.mace.settings import Architecture
from palirs.recipes import PalirsError

log = logging.getLogger(__name__)


class ExportedDipole(nn.Module):
    """A dipole network with the interface that ``MACECalculator`` expects."""

    def __init__(self, shape: DipoleShape, network: DipoleNetwork):
        super().__init__()
        self.network, self.described, self.heads = network, shape.as_dict(), ["Default"]
        self.register_buffer("r_max", torch.tensor(shape.architecture.cutoff))
        self.register_buffer("atomic_numbers", torch.tensor(shape.elements))

    def forward(self, data: dict[str, Tensor], **ignored: Any) -> dict[str, Tensor]:
        """Return ``dipole`` ``[B, 3]`` [e·Å]."""
        return {"dipole": self.network(data)}


def export_mace(model: str | Path, path: str | Path) -> None:
    """Write a palirs model file as MACE's ``.model``.

    The charges and multiplicities that it has learnt go with it, see :func:`import_mace`.

    Parameters
    ----------
    model : path
        A palirs model file, potential or dipole model.
    path : path
        File to write.
    """
    shape, module = read(Path(model))
    module.requires_grad_(False)
    whole = ExportedDipole(shape, module) if isinstance(shape, DipoleShape) else module
    if learnt := header(Path(model)).get(ELECTRONS):
        setattr(whole, EXPORTED, learnt)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    torch.save(whole.eval(), part)
    part.replace(path)


def one_head(path: Path, module: Any, head: str | None) -> Any:
    """Return a model with one head, that of this name if there are several.

    Raises
    ------
    PalirsError
        If there is no such head, or several and none is named.
    """
    heads = list(getattr(module, "heads", None) or ["Default"])
    if head is not None and head not in heads:
        raise PalirsError(f"task.head = {head!r}: {path} has {', '.join(heads)}")
    if len(heads) == 1 or type(module) is not ScaleShiftMACE:
        return module
    if head is None:
        raise PalirsError(f"{path} has several heads; give task.head, one of {', '.join(heads)}")
    with quietly(), building(str(next(module.parameters()).dtype).removeprefix("torch.")):
        return remove_pt_head(module, head)


def import_mace(path: str | Path, model: str | Path, head: str | None = None) -> Shape:
    """Write MACE's ``.model`` as a palirs model file.

    This runs code from the file: import only what you would execute. What palirs exported says
    which charges and multiplicities it has learnt, and so does the file that is written.

    Parameters
    ----------
    path : path
        A ``ScaleShiftMACE`` (with the interactions of the default MACE), or what
        :func:`export_mace` wrote.
    model : path
        File to write.
    head : str, optional
        Which head to take, of several.

    Raises
    ------
    PalirsError
        If it is not such a file, or has a part that palirs does not build.
    """
    path = Path(path)
    if not path.is_file():
        raise PalirsError(f"{path}: there is no such file")
    Path(model).parent.mkdir(parents=True, exist_ok=True)
    log.warning(PICKLE, path)
    try:
        loaded = load_pickle(path)
        learnt, module = stated_by(loaded), one_head(path, loaded, head)
    except RuntimeError as error:
        raise PalirsError(f"{path}: MACE cannot take one head of it: {error}") from error
    if isinstance(module, ExportedDipole):
        shape: Shape = DipoleShape.from_dict(module.described)
        save(Path(model), shape, module.network, learnt)
        return shape
    try:
        shape, weights = _described(path, module)
        fresh = shape.build()
        unknown = fresh.load_state_dict(weights, strict=False)
    except (ValidationError, RuntimeError) as error:
        raise PalirsError(f"{path}: palirs does not build models like this one: {error}") from error
    differing = [*unknown.missing_keys, *unknown.unexpected_keys]
    if differing:
        raise PalirsError(f"{path}: parts that palirs does not build: {', '.join(differing[:6])}")
    _compare(path, module, fresh)
    save(Path(model), shape, fresh, learnt)
    return shape


def _described(path: Path, module: Any) -> tuple[PotentialShape, dict[str, Tensor]]:
    """Return shape and weights; a shift of the energy of an atom goes into its E0."""
    if isinstance(module, torch.jit.ScriptModule):
        raise PalirsError(
            f"{path}: a compiled model, whose parts cannot be read; import the .model file that "
            "MACE wrote beside it"
        )
    if type(module) is not ScaleShiftMACE:
        raise PalirsError(
            f"{path}: a {type(module).__name__}; palirs imports ScaleShiftMACE and its own dipole "
            "models, as its models have no other parts; what MACE's calculator takes may be learnt "
            "from instead, with pretraining=mace pretraining.engine.file (energies and forces) or "
            "pretraining.engine.dipoles"
        )
    config = extract_config_mace_model(module)
    _refuse_unknown(path, config)
    weights = dict(module.state_dict())
    shift = float(np.ravel(config["atomic_inter_shift"])[0])
    energies = np.ravel(config["atomic_energies"]).astype(float) + shift
    weights["scale_shift.shift"] = torch.zeros_like(weights["scale_shift.shift"])
    weights["atomic_energies_fn.atomic_energies"] = torch.tensor(energies[None]).to(
        weights["atomic_energies_fn.atomic_energies"]
    )
    architecture = Architecture(
        channels=config["hidden_irreps"][0].mul,
        max_L=config["hidden_irreps"].lmax,
        max_ell=int(config["max_ell"]),
        correlation=int(config["correlation"]),
        layers=int(config["num_interactions"]),
        cutoff=float(config["r_max"]),
        bessel=int(config["num_bessel"]),
        radial_mlp=tuple(config["radial_MLP"]),
        residual_first=config["interaction_cls_first"] is RealAgnosticResidualInteractionBlock,
        dtype=str(next(module.parameters()).dtype).removeprefix("torch."),  # pyright: ignore[reportArgumentType]
    )
    shape = PotentialShape(
        architecture=architecture,
        elements=tuple(int(z) for z in config["atomic_numbers"]),
        atomic_energies=tuple(map(float, energies)),
        scale=float(np.ravel(config["atomic_inter_scale"])[0]),
        mean_neighbours=float(config["avg_num_neighbors"]),
        mlp=config["MLP_irreps"].dim,
        envelope=int(config["num_polynomial_cutoff"]),
    )
    return shape, _in_shape(weights, shape)


def _refuse_unknown(path: Path, config: dict[str, Any]) -> None:
    """Raise :class:`PalirsError` for parts that palirs does not build."""
    hidden = config["hidden_irreps"]
    first, later = config["interaction_cls_first"], config["interaction_cls"]
    wrong = [
        name
        for name, bad in {
            "several heads": len(config["heads"]) != 1,
            f"interaction {later.__name__}": later is not RealAgnosticResidualInteractionBlock,
            f"first interaction {first.__name__}": first
            not in (RealAgnosticInteractionBlock, RealAgnosticResidualInteractionBlock),
            f"radial functions {config['radial_type']}": config["radial_type"] != "bessel",
            f"distance transform {config['distance_transform']}": config["distance_transform"]
            is not None,
            "pair repulsion": config["pair_repulsion"],
            "cutoff not applied": not config["apply_cutoff"],
            "agnostic products": config["use_agnostic_product"],
            f"hidden irreps {hidden}": any(ir.p != (-1) ** ir.l for _, ir in hidden)
            or len({mul for mul, _ in hidden}) != 1
            or [ir.l for _, ir in hidden] != list(range(len(hidden))),
            f"read-out {config['readout_cls'].__name__}": config["readout_cls"]
            is not NonLinearReadoutBlock,
            f"gate {config['gate']}": "silu" not in str(config["gate"]).lower(),
        }.items()
        if bad
    ]
    if wrong:
        raise PalirsError(f"{path}: palirs does not build models with {', '.join(wrong)}")


def _in_shape(weights: dict[str, Tensor], shape: PotentialShape) -> dict[str, Tensor]:
    """Reshape scale and shift, numbers or one-element arrays depending on MACE's version."""
    expected = shape.build().state_dict()
    return {
        name: value.reshape(expected[name].shape)
        if name in expected and value.numel() == expected[name].numel()
        else value
        for name, value in weights.items()
    }


def _compare(path: Path, theirs: Any, ours: Any) -> None:
    """Raise if the rebuilt model gives other energies or forces, on clusters of every element."""
    elements = [int(z) for z in theirs.atomic_numbers]
    dtype = next(ours.parameters()).dtype
    rng = np.random.default_rng(0)
    every = np.resize(elements, max(8, len(elements)))
    clusters = [every[start : start + 8] for start in range(0, len(every), 8)]
    steps = np.concatenate([np.arange(len(cluster)) for cluster in clusters])
    along = steps[:, None] * [0.9, 0.9, 0.0]
    positions = torch.tensor(along + rng.normal(0, 0.7, along.shape), dtype=dtype)
    counts = torch.tensor([len(cluster) for cluster in clusters], dtype=torch.float64)
    outputs = []
    for model in (theirs, ours):
        inputs = graph(clusters, elements, dtype).inputs(positions.clone().requires_grad_(True))
        out = model({**inputs, "head": torch.zeros(len(clusters), dtype=torch.long)})
        outputs.append(
            (out["interaction_energy"].detach().double(), out["forces"].detach().double())
        )
    tolerance = 1e-8 if dtype == torch.float64 else 1e-3
    (e, f), (g, h) = outputs
    g = g + counts * float(np.ravel(theirs.scale_shift.shift.detach())[0])  # ours has it in the E0s
    difference = max(float((f - h).abs().max()), float((e - g).abs().max()))
    if difference > tolerance * max(1.0, float(f.abs().max()), float(e.abs().max())):
        raise PalirsError(
            f"{path}: the rebuilt model gives other energies or forces; it has a part that palirs "
            "does not know"
        )
