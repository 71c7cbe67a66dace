"""What ``run.py`` can do: one short function per entry in ``conf/task``."""

from palirs.tasks.conditions import temperatures, transfer
from palirs.tasks.labels import contract, export_labels, fetch, import_labels, label
from palirs.tasks.models import export_model, import_model
from palirs.tasks.prediction import predict
from palirs.tasks.spectral import aimd, spectra
from palirs.tasks.stages import active_learning, analyse, check, dipole, harmonic, study
from palirs.tasks.evaluation import compare, test_set

__all__ = [
    "active_learning",
    "aimd",
    "analyse",
    "check",
    "compare",
    "contract",
    "dipole",
    "export_labels",
    "export_model",
    "fetch",
    "harmonic",
    "import_labels",
    "import_model",
    "label",
    "predict",
    "spectra",
    "study",
    "temperatures",
    "test_set",
    "transfer",
]
