"""The predictor as an MLflow model from code: this file, and the predictor's directory."""

import io
import json
import logging

import ase.io
import mlflow
import numpy as np
import pandas as pd
from ase import Atoms
from mlflow.exceptions import INVALID_PARAMETER_VALUE, MlflowException
from mlflow.pyfunc import PythonModel

from palirs.geometry.smiles import size
from palirs.molecules import headers
from palirs.predictor import open_predictor, predict
from palirs.recipes import PalirsError

log = logging.getLogger(__name__)

ROWS, ATOMS, LONGEST, TEXT = 8, 60, 1000.0, 10_000
"""In one request at most: molecules; atoms of each; MD of each [ps, all replicas]; characters of a
molecule."""


class SpectrumModel(PythonModel):
    """Molecules in, spectra out.

    Input: a column ``molecule`` with names, SMILES or the text of xyz files. Output: a row for
    each, with ``wavenumber_cm1``, ``intensity_km_per_mol_cm`` and ``error_km_per_mol_cm`` (lists),
    ``bands`` (JSON), ``warnings`` (list), ``expected_error_meV_per_A``.
    """

    def load_context(self, context) -> None:
        """Open the predictor."""
        self.predictor = open_predictor(context.artifacts["predictor"])

    def predict(
        self, context, model_input: pd.DataFrame, params: dict | None = None
    ) -> pd.DataFrame:
        """Predict the spectra.

        Raises
        ------
        MlflowException
            For what cannot be treated, with a sentence that says why; a server answers with 400.
        """
        try:
            return pd.DataFrame([self._row(text, params or {}) for text in _texts(model_input)])
        except (PalirsError, ValueError) as error:
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from error

    def _row(self, text: str, params: dict) -> dict:
        length, replicas = float(params.get("length", 15.0)), int(params.get("replicas", 12))
        if not 0 < length * replicas <= LONGEST:
            raise PalirsError(
                f"length × replicas = {length * replicas:g} ps: it should be above 0 and at most "
                f"{LONGEST:g}"
            )
        prediction = predict(
            _molecule(text),
            self.predictor,
            float(params.get("temperature", 300.0)),
            length=length,
            replicas=replicas,
            seed=int(params.get("seed", 1)),
        )
        inside = prediction.within(400.0, 4200.0)
        error = np.full_like(inside.intensity, np.nan) if inside.error is None else inside.error
        return {
            "molecule": prediction.name,
            "temperature_K": prediction.temperature,
            "wavenumber_cm1": np.round(inside.wavenumber, 2).tolist(),
            "intensity_km_per_mol_cm": inside.intensity.tolist(),
            "error_km_per_mol_cm": error.tolist(),
            "bands": json.dumps(prediction.bands, default=float),
            "expected_error_meV_per_A": 1e3 * prediction.expected_error,
            "warnings": list(prediction.warnings),
        }


def _texts(model_input: pd.DataFrame) -> list[str]:
    """Return the molecules of a request."""
    if "molecule" not in model_input:
        raise PalirsError(
            f"columns {list(model_input)[:5]}: one called molecule is needed, with names, SMILES "
            "or xyz text"
        )
    texts = list(model_input["molecule"])
    if not 1 <= len(texts) <= ROWS:
        raise PalirsError(f"{len(texts)} molecules: a request should have 1 to {ROWS}")
    for text in texts:
        if not isinstance(text, str) or not text.strip() or len(text) > TEXT:
            raise PalirsError(
                "a molecule should be a name, a SMILES or the text of an xyz file, of up to "
                f"{TEXT} characters"
            )
    return texts


def _molecule(text: str) -> str | Atoms:
    """Return the molecule; reads no file, and refuses one that is too large."""
    if "\n" in text.strip():
        try:
            structure = ase.io.read(io.StringIO(text.strip() + "\n"), format="extxyz")
        except Exception as error:
            raise PalirsError(f"this is no xyz file: {error}") from error
        assert isinstance(structure, Atoms)
        headers.restore(structure, text.strip().splitlines()[1])  # charge and multiplicity
        count = len(structure)
    else:
        structure, count = text.strip(), size(text.strip()) or 0
    if count > ATOMS:
        raise PalirsError(f"{count} atoms: a molecule should have at most {ATOMS} here")
    return structure


mlflow.models.set_model(SpectrumModel())
