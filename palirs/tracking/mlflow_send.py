"""How MLflow gets metrics, parameters, data sets and models, and what it answers."""

import getpass
import hashlib
import json
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from palirs.provenance import arguments, command, commit, program
from palirs.tracking.names import Names
from palirs.version import VERSION

METRICS, PARAMETERS = 1000, 100
"""MLflow takes as many in one call."""
FOLDED = ("md", "temperatures", "test_set", "training", "transfer")
"""First parts of metrics of which there are many: MLflow's pages fold names by their slashes, so
these are ``training/001/loss.0``."""
HEADLINE = (
    "harmonic.mae_cm1",
    "harmonic.held_out_mae_cm1",
    "harmonic.intensity_relative",
    "exploration.force_error_meV_per_A",
    "forces.measured_along_md_meV_per_A",
    "forces.mae_meV_per_A",
    "energy.mae_meV",
    "dipole.mae_mD",
    "dataset.size",
    "labels.used",
)
"""Metrics that are logged a second time as ``headline/...``, with the agreement of spectra, since
MLflow's pages show names with slashes first."""
SHOWN = """
    molecules engine committee learning selector sampler initial temperature seed
    model.potential.channels model.potential.cutoff model.potential.layers model.potential.max_L
    model.potential.max_ell training.potential.updates training.potential.learning_rate
    training.potential.batch_size training.potential.schedule training.potential.loss
    training.potential.optimiser training.potential.start training.dipole.updates pretraining.engine
    spectrum.production spectrum.reference spectrum.conformers spectrum.nuclei spectrum.timestep
    spectrum.thermostat spectrum.resolution spectrum.friction spectrum.max_lag spectrum.method
    spectrum.equipartition
""".split()  # noqa: SIM905
"""Settings that people compare runs by; the others appear where they are given on the command line,
and all of them in ``config.yaml``."""


EXAMPLE = {"dataframe_records": [{"molecule": "methanol"}], "params": {"temperature": 300}}
"""Of a request to a served model."""


def folded(name: str) -> str:
    """Return the name of a metric in MLflow: all of one iteration's trainings stand together."""
    first, *rest = name.split(".")
    if first not in FOLDED:
        return name
    if first == "training" and len(rest) == 3:
        return f"training/{rest[0]}/{rest[2]}.{rest[1]}"
    return "/".join([first, *rest])


def is_headline(name: str) -> bool:
    """Return whether a metric is one of those to look at first."""
    return name in HEADLINE or (
        name.startswith("spectrum.")
        and name.endswith((".pcc_ml_ref", ".pcc_ml_exp", ".band_error"))
    )


def parameters(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings that are shown beside the metrics: few enough to be compared."""
    given = {argument.lstrip("+~").partition("=")[0] for argument in arguments() if "=" in argument}

    def is_shown(key: str) -> bool:
        listed = any(key == name or key.startswith(f"{name}.") for name in SHOWN)
        return "._" not in key and (listed or key in given)

    shown = {key: str(value)[:500] for key, value in settings.items() if is_shown(key)}
    empty = ("None", "False", "[]", "{}", "")
    return {key: value for key, value in shown.items() if value not in empty}


def provenance() -> dict[str, str]:
    """Return tags that say what a run was made with: program, arguments, version, commit, user."""
    tags = {
        "mlflow.source.name": program(),
        "palirs.command": command(),
        "mlflow.source.type": "LOCAL",
        "palirs.version": VERSION,
    }
    try:
        tags["mlflow.user"] = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        tags["mlflow.user"] = str(os.getuid())
    source = commit()
    if source is not None:
        tags["mlflow.source.git.commit"] = source[0]
        tags["palirs.git.changed"] = "yes" if source[1] else "no"
    return tags


def is_refusal(error: Exception) -> bool:
    """Return whether MLflow does not accept what was sent, now or later."""
    from mlflow.exceptions import MlflowException

    if not isinstance(error, MlflowException):
        return False
    status = error.get_http_status_code()
    return 400 <= status < 500 and status not in (401, 403, 404, 408, 425, 429)


def is_gone(error: Exception) -> bool:
    """Return whether MLflow says that there is no such run."""
    from mlflow.exceptions import MlflowException

    return isinstance(error, MlflowException) and error.get_http_status_code() == 404


def send_parameters(client: Any, run: str, values: Mapping[str, str], names: Names) -> list[str]:
    """Log parameters; return the names of those that MLflow refused, each with its reason."""
    from mlflow.entities import Param

    given = [(key, Param(names.accepted(key), value)) for key, value in values.items()]
    return _in_batches(client, run, "params", given)


def reserve_headline(client: Any, run: str, moment: float) -> None:
    """Log NaN for what is to be looked at first: comparisons open on what was logged first.

    ``moment`` is before all metrics [s since 1970].
    """
    client.log_metric(run, f"headline/{HEADLINE[0]}", float("nan"), int(moment * 1000) - 1, 0)


def send_metrics(
    client: Any,
    run: str,
    steps: Iterable[tuple[int, Mapping[str, float]]],
    names: Names,
    moment: float,
) -> list[str]:
    """Log metrics of several steps; return the names of those that MLflow refused, with reasons.

    Parameters
    ----------
    client, run
        MLflow's client, the id of the run.
    steps : iterable
        Step, and values by name.
    names : Names
        Of the run.
    moment : float
        When they were made [s since 1970]; of two values of a step the later one counts.
    """
    from mlflow.entities import Metric

    stamp = int(moment * 1000)
    values = [(step, key, float(value)) for step, part in steps for key, value in part.items()]
    first = [(step, key, value) for step, key, value in values if is_headline(key)]
    given = [
        *((k, Metric(f"headline/{names.accepted(k)}", v, stamp, step)) for step, k, v in first),
        *((k, Metric(folded(names.accepted(k)), v, stamp, step)) for step, k, v in values),
    ]
    return _in_batches(client, run, "metrics", given)


def _in_batches(client: Any, run: str, kind: str, given: Sequence[tuple[str, Any]]) -> list[str]:
    """Log metrics or parameters, many in a call; one by one where one of them is refused."""
    size, refused = {"metrics": METRICS, "params": PARAMETERS}[kind], []
    for start in range(0, len(given), size):
        part = given[start : start + size]
        try:
            client.log_batch(run, **{kind: [value for _, value in part]})
        except Exception as error:
            if not is_refusal(error):
                raise
            if len(part) == 1:
                refused.append(f"{part[0][0]} ({first_line(error)})")
            else:
                for single in part:
                    refused += _in_batches(client, run, kind, [single])
    return refused


def first_line(error: Exception) -> str:
    """Return what an error says first, at most 200 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def send_dataset(client: Any, run: str, file: Path, name: str, context: str) -> None:
    """Log what a run learnt from (``context`` "training") or was tested on ("testing")."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    content = file.read_bytes()
    structures = sum(line.strip().isdigit() for line in content.splitlines())
    molecules = set(re.findall(rb'molecule=("[^"]*"|\S+)', content))
    dataset = Dataset(
        name=name,
        digest=hashlib.sha256(content).hexdigest()[:8],
        source_type="local",
        source=str(file),
        profile=json.dumps({"structures": structures, "molecules": len(molecules)}),
    )
    tag = InputTag("mlflow.data.context", context)
    client.log_inputs(run, [DatasetInput(dataset, [tag])])


def send_model(client: Any, run: str, predictor: Path, name: str, store: str) -> None:
    """Log a predictor as a model from code, and register it under a name."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array

    signature = ModelSignature(
        inputs=Schema([ColSpec("string", "molecule")]),
        outputs=Schema(
            [
                ColSpec("string", "molecule"),
                ColSpec("double", "temperature_K"),
                *(
                    ColSpec(Array(DataType.double), key)
                    for key in ("wavenumber_cm1", "intensity_km_per_mol_cm", "error_km_per_mol_cm")
                ),
                ColSpec("string", "bands"),
                ColSpec("double", "expected_error_meV_per_A"),
                ColSpec(Array(DataType.string), "warnings"),
            ]
        ),
        params=ParamSchema(
            [
                ParamSpec("temperature", "double", 300.0),
                ParamSpec("length", "double", 15.0),
                ParamSpec("replicas", "long", 12),
                ParamSpec("seed", "long", 1),
            ]
        ),
    )
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(store)
    try:
        with (
            warnings.catch_warnings(),
            mlflow.start_run(run_id=run, nested=True, log_system_metrics=False),
        ):
            warnings.filterwarnings(
                "ignore", ".*An input example was not provided"
            )  # MLflow would predict it: a minute of MD
            made = mlflow.pyfunc.log_model(
                name="predictor",
                python_model=str(Path(__file__).parents[1] / "predictor" / "served.py"),
                artifacts={"predictor": str(predictor)},
                signature=signature,
                metadata={"example": json.dumps(EXAMPLE)},
                pip_requirements=[f"palirs=={VERSION}"],
                registered_model_name=name,
            )
        about = json.loads((predictor / "predictor.json").read_text())
        client.update_model_version(
            name, made.registered_model_version, about.get("description", "")
        )
    finally:
        mlflow.set_tracking_uri(before)
        client.update_run(run, status="RUNNING")  # which the end of the context has changed
