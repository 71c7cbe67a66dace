"""Figures leave the user's matplotlib alone."""

import subprocess
import sys


def test_drawing_neither_chooses_a_backend_nor_keeps_figures_open():
    program = (
        "import os; os.environ['MPLBACKEND'] = 'svg'; import matplotlib.pyplot as plt\n"
        "from palirs.report import course_figures, figures, interactive\n"
        "from palirs.report import spectral_figures, transfer_figures\n"
        "drawn = figures.bars({'a': {'x': 1.0}}, {'x': 'x (cm)'})\n"
        "import pathlib, tempfile\n"
        "figures.save(drawn, pathlib.Path(tempfile.mkdtemp()) / 'x.png', vector=True)\n"
        "assert plt.get_backend().lower() == 'svg', plt.get_backend()\n"
        "assert not plt.get_fignums()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
