"""What ``run.py`` can do: one short function per entry in ``conf/task``."""

from palirs.tasks.labels import contract, export_labels, import_labels, label
from palirs.tasks.models import export_model, import_model
from palirs.tasks.stages import active_learning, aimd, analyse, check, dipole, harmonic, spectra, study
from palirs.tasks.testing import compare, test_set

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
    "harmonic",
    "import_labels",
    "import_model",
    "label",
    "spectra",
    "study",
    "test_set",
]
