"""What an entry of the outbox is to MLflow: metrics, files, data sets, models, descriptions."""

import getpass
import hashlib
import logging
import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palirs.provenance import arguments, command, commit, program
from palirs.version import VERSION

log = logging.getLogger(__name__)

BATCH = 1000
"""MLflow takes as many metrics in one call."""
FOLDED = ("md", "temperatures", "test_set", "training", "transfer")
"""First parts of metrics of which there are many: MLflow's pages fold names by their slashes, so these are ``training/001/loss.0``."""
HEADLINE = (
    "harmonic.mae_cm1",
    "harmonic.intensity_relative",
    "exploration.force_error_meV_per_A",
    "forces.mae_meV_per_A",
    "energy.mae_meV",
    "dipole.mae_mD",
    "dataset.size",
    "labels.used",
)
"""Metrics that are logged a second time as ``headline/...``, with the agreement of spectra: the pages show what has slashes first."""
SHOWN = (
    *("molecules", "engine", "committee", "learning", "selector", "sampler", "initial", "temperature", "seed"),
    *(f"model.potential.{key}" for key in ("channels", "cutoff", "layers", "max_L", "max_ell")),
    *(f"training.potential.{key}" for key in ("updates", "learning_rate", "batch_size", "schedule", "loss", "optimiser", "start")),
    *("training.dipole.updates", "pretraining.engine", "spectrum.production", "spectrum.reference", "spectrum.conformers"),
    *(f"spectrum.{key}" for key in ("timestep", "thermostat", "friction", "max_lag", "method")),
)
"""Settings that people compare runs by; the others appear where they are given on the command line, and all of them in ``config.yaml``."""


def folded(name: str) -> str:
    """Return the name of a metric in MLflow: all of one iteration's trainings stand together."""
    first, *rest = name.split(".")
    if first not in FOLDED:
        return name
    if first == "training" and len(rest) == 3:
        return f"training/{rest[0]}/{rest[2]}.{rest[1]}"
    return "/".join([first, *rest])


def is_headline(name: str) -> bool:
    """Tell whether a metric is one of those to look at first."""
    return name in HEADLINE or (name.startswith("spectrum.") and name.endswith((".pcc_ml_ref", ".pcc_ml_exp", ".band_error")))


def parameters(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings that are shown beside the metrics, flat: few enough to be compared side by side."""
    given = {argument.lstrip("+~").partition("=")[0] for argument in arguments() if "=" in argument}

    def shown(key: str) -> bool:
        return key in given or any(key == one or key.startswith(f"{one}.") for one in SHOWN)

    told = {key: str(value)[:500] for key, value in settings.items() if shown(key) and "._" not in key}
    return {key: value for key, value in told.items() if value not in ("None", "False", "[]", "{}", "")}


def provenance() -> dict[str, str]:
    """Return tags that say with what a run was made: program, arguments, version, git commit, user."""
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
    if found := commit():
        tags |= {"mlflow.source.git.commit": found[0], "palirs.git.changed": "yes" if found[1] else "no"}
    return tags


def send(client: Any, run: str, entry: Mapping[str, Any], store: str) -> None:
    """Send an entry of the outbox to a run."""
    kind = entry["kind"]
    if entry.get("parent"):
        run = client.get_run(run).data.tags.get("mlflow.parentRunId", run)
    if kind == "metrics":
        _metrics(client, run, [(entry["step"], entry["values"])])
    elif kind == "series":
        _metrics(client, run, entry["steps"])
    elif kind == "tags":
        for key, value in entry["values"].items():
            client.set_tag(run, key, value.replace("{run}", run))
    elif not Path(entry["path"]).exists():
        log.warning("tracking: %s is gone and was not sent", entry["path"])
    elif kind == "dataset":
        _dataset(client, run, entry)
    elif kind == "model":
        try:
            _model(client, run, entry, store)
        except Exception as error:  # a store without a registry, no permission: what comes after must not wait for it
            client.get_run(run)  # raises if it is the server that is away
            log.warning("tracking: the model %s was not logged (%s)", entry["name"], error)
    elif Path(entry["path"]).is_dir():
        client.log_artifacts(run, entry["path"], entry["folder"] or None)
    else:
        client.log_artifact(run, entry["path"], entry["folder"] or None)


def _metrics(client: Any, run: str, steps: Any) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    every = [Metric(f"headline/{key}", value, now, step) for step, values in steps for key, value in values.items() if is_headline(key)]
    every += [Metric(folded(key), value, now, step) for step, values in steps for key, value in values.items()]
    for start in range(0, len(every), BATCH):
        client.log_batch(run, metrics=every[start : start + BATCH])


def _dataset(client: Any, run: str, entry: Mapping[str, Any]) -> None:
    """Tell what a run learnt from or was tested on."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    path = Path(entry["path"])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    made = Dataset(name=entry["name"], digest=digest, source_type="local", source=str(path), profile=entry["profile"])
    client.log_inputs(run, [DatasetInput(made, [InputTag("mlflow.data.context", entry["context"])])])


def _model(client: Any, run: str, entry: Mapping[str, Any], store: str) -> None:
    """Log a predictor as a model from code, and register it; the same one is not registered twice."""
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
                *(ColSpec(Array(DataType.double), key) for key in ("wavenumber_cm1", "intensity_km_per_mol_cm", "error_km_per_mol_cm")),
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
        with warnings.catch_warnings(), mlflow.start_run(run_id=run, nested=True, log_system_metrics=False):
            warnings.filterwarnings("ignore", ".*An input example was not provided")  # MLflow would predict it: a minute of MD
            made = mlflow.pyfunc.log_model(
                name="predictor",
                python_model=str(Path(__file__).parents[1] / "predictor" / "served.py"),
                artifacts={"predictor": entry["path"]},
                signature=signature,
                metadata={"example": '{"dataframe_records": [{"molecule": "methanol"}], "params": {"temperature": 300}}'},
                pip_requirements=[f"palirs=={VERSION}"],
                registered_model_name=entry["name"],
            )
        client.update_model_version(entry["name"], made.registered_model_version, entry["description"])
    finally:
        mlflow.set_tracking_uri(before)
        client.update_run(run, status="RUNNING")  # which the end of the context has changed
