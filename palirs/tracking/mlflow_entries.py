"""What an entry of the outbox is to MLflow: metrics, files, data sets, models, descriptions."""

import getpass
import hashlib
import logging
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from palirs.provenance import arguments, command, commit, program
from palirs.tracking.names import Names
from palirs.version import VERSION

log = logging.getLogger(__name__)

METRICS, PARAMETERS = 1000, 100
"""MLflow takes as many in one call."""
FOLDED = ("md", "temperatures", "test_set", "training", "transfer")
"""First parts of metrics of which there are many: MLflow's pages fold names by their slashes, so
these are ``training/001/loss.0``."""
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
    *(
        "molecules",
        "engine",
        "committee",
        "learning",
        "selector",
        "sampler",
        "initial",
        "temperature",
        "seed",
    ),
    *(f"model.potential.{key}" for key in ("channels", "cutoff", "layers", "max_L", "max_ell")),
    *(
        f"training.potential.{key}"
        for key in (
            "updates",
            "learning_rate",
            "batch_size",
            "schedule",
            "loss",
            "optimiser",
            "start",
        )
    ),
    *(
        "training.dipole.updates",
        "pretraining.engine",
        "spectrum.production",
        "spectrum.reference",
        "spectrum.conformers",
    ),
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
    return name in HEADLINE or (
        name.startswith("spectrum.")
        and name.endswith((".pcc_ml_ref", ".pcc_ml_exp", ".band_error"))
    )


def parameters(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings that are shown beside the metrics, flat: few enough to be compared side by side."""
    given = {argument.lstrip("+~").partition("=")[0] for argument in arguments() if "=" in argument}

    def shown(key: str) -> bool:
        return key in given or any(key == one or key.startswith(f"{one}.") for one in SHOWN)

    told = {
        key: str(value)[:500] for key, value in settings.items() if shown(key) and "._" not in key
    }
    return {
        key: value for key, value in told.items() if value not in ("None", "False", "[]", "{}", "")
    }


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
        tags |= {
            "mlflow.source.git.commit": found[0],
            "palirs.git.changed": "yes" if found[1] else "no",
        }
    return tags


def keys(entry: Mapping[str, Any]) -> list[str]:
    """Return the names of the metrics in an entry, in order."""
    values = entry.get("values", {}) if entry["kind"] == "metrics" else {}
    return [*values, *(key for _, part in entry.get("steps", []) for key in part)]


def is_refusal(error: Exception) -> bool:
    """Tell whether MLflow has looked at an entry and does not take it; sent again it would be refused again."""
    from mlflow.exceptions import MlflowException

    if not isinstance(error, MlflowException):
        return False
    status = error.get_http_status_code()
    return 400 <= status < 500 and status not in (401, 403, 404, 408, 425, 429)


def is_gone(error: Exception) -> bool:
    """Tell whether MLflow says that there is no such run."""
    from mlflow.exceptions import MlflowException

    return isinstance(error, MlflowException) and error.get_http_status_code() == 404


def in_words(entry: Mapping[str, Any]) -> str:
    """Return what an entry is, for people."""
    if names := keys(entry):
        return (
            f"the metric {names[0]}" if len(names) == 1 else f"{len(names)} metrics ({names[0]}, …)"
        )
    if entry["kind"] == "tags":
        return "the description"
    return f"the {entry['kind']} {entry.get('name') or Path(entry['path']).name}"


def send(client: Any, run: str, entry: Mapping[str, Any], store: str, names: Names) -> list[str]:
    """Send an entry of the outbox to a run; return the names of metrics that MLflow refused, each with its reason."""
    kind = entry["kind"]
    if entry.get("parent"):
        run = client.get_run(run).data.tags.get("mlflow.parentRunId", run)
    if kind == "metrics":
        return _metrics(client, run, [(entry["step"], entry["values"])], names)
    if kind == "series":
        return _metrics(client, run, entry["steps"], names)
    if kind == "tags":
        for key, value in entry["values"].items():
            client.set_tag(run, key, value.replace("{run}", run))
    elif not Path(entry["path"]).exists():
        return [f"{entry['path']} is gone and was not sent"]
    elif kind == "dataset":
        _dataset(client, run, entry)
    elif kind == "model":
        _model(client, run, entry, store)
    elif Path(entry["path"]).is_dir():
        client.log_artifacts(run, entry["path"], entry["folder"] or None)
    else:
        client.log_artifact(run, entry["path"], entry["folder"] or None)
    return []


def send_parameters(client: Any, run: str, values: Mapping[str, str], names: Names) -> list[str]:
    """Log parameters; return the names of those that MLflow refused, each with its reason."""
    from mlflow.entities import Param

    given = [(key, Param(names.accepted(key), value)) for key, value in values.items()]
    return _in_batches(client, run, "params", given)


def _metrics(client: Any, run: str, steps: Any, names: Names) -> list[str]:
    from mlflow.entities import Metric

    now, given = int(time.time() * 1000), []
    values = [(step, key, value) for step, part in steps for key, value in part.items()]
    for step, key, value in values:
        if is_headline(key):
            given.append((key, Metric(f"headline/{names.accepted(key)}", value, now, step)))
    for step, key, value in values:
        given.append((key, Metric(folded(names.accepted(key)), value, now, step)))
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


def _dataset(client: Any, run: str, entry: Mapping[str, Any]) -> None:
    """Tell what a run learnt from or was tested on."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    path = Path(entry["path"])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    made = Dataset(
        name=entry["name"],
        digest=digest,
        source_type="local",
        source=str(path),
        profile=entry["profile"],
    )
    client.log_inputs(
        run, [DatasetInput(made, [InputTag("mlflow.data.context", entry["context"])])]
    )


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
                artifacts={"predictor": entry["path"]},
                signature=signature,
                metadata={
                    "example": '{"dataframe_records": [{"molecule": "methanol"}], "params": {"temperature": 300}}'
                },
                pip_requirements=[f"palirs=={VERSION}"],
                registered_model_name=entry["name"],
            )
        client.update_model_version(
            entry["name"], made.registered_model_version, entry["description"]
        )
    finally:
        mlflow.set_tracking_uri(before)
        client.update_run(run, status="RUNNING")  # which the end of the context has changed
