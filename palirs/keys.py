"""Names and units of all ``info`` and ``arrays`` keys of structures and files."""

ENERGY = "REF_energy"
"""``info``: reference energy [eV]."""
DIPOLE = "REF_dipole"
"""``info``: reference dipole moment [e·Å]."""
FORCES = "REF_forces"
"""``arrays``: reference forces [eV/Å]."""
MOLECULE = "molecule"
"""``info``: name of the molecule, unique within a study."""
ORIGIN = "origin"
"""``info``: where the frame comes from: ``optimum``, ``normal_mode``, ``thermal``, ``turned``,
``exploration``, ``displacement``."""
ITERATION = "iteration"
"""``info``: active-learning iteration that asked for the label."""
TEMPERATURE = "temperature"
"""``info``: temperature of the MD or of the thermal distribution the frame was taken from [K]."""
GROUP = "stretch"
"""``info``: name of the group of correlated frames (the images of a normal mode, one trajectory in
one iteration) that a frame belongs to; all of a group get the same split."""
SPLIT = "side"
"""``info``: ``train``, ``valid`` or ``test``, assigned once, when the frame arrives; missing where
frames are split at random in every iteration."""
