"""Names and units of every ``info`` and ``arrays`` key that the project writes to structures and files."""

ENERGY = "REF_energy"
"""``info``: reference energy [eV]."""
DIPOLE = "REF_dipole"
"""``info``: reference dipole moment [e·Å]."""
FORCES = "REF_forces"
"""``arrays``: reference forces [eV/Å]."""
MOLECULE = "molecule"
"""``info``: name of the molecule, unique within a study."""
ORIGIN = "origin"
"""``info``: how the frame came to be: ``optimum``, ``normal_mode``, ``thermal``, ``turned``,
``exploration``, ``displacement``."""
ITERATION = "iteration"
"""``info``: active-learning iteration that asked for the label."""
TEMPERATURE = "temperature"
"""``info``: temperature of the MD or of the thermal distribution the frame was taken from [K]."""
STRETCH = "stretch"
"""``info``: frames of one molecule with one value are neighbours (a normal mode, a part of a
trajectory): learnt or tested all together."""
SIDE = "side"
"""``info``: ``train``, ``valid`` or ``test``, once and for ever; none where frames are drawn
anew."""
