"""The method of a study in words, filled from its settings, with references."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from palirs.pages.page import render
from palirs.settings import StudySettings
from palirs.vibrations.analysis import DISPLACEMENT

CITED = {
    "protocol": "N. Bhatia, P. Rinke, O. Krejčí, Leveraging active learning-enhanced "
    "machine-learned interatomic potential for efficient infrared spectra prediction",
    "ase": "A. Hjorth Larsen et al., J. Phys.: Condens. Matter 2017, 29, 273002, "
    "doi:10.1088/1361-648X/aa680e",
    "ribeiro": "R. F. Ribeiro et al., J. Phys. Chem. B 2011, 115, 14556, doi:10.1021/jp205508z",
    "transfer": "J. S. Smith et al., Nat. Commun. 2019, 10, 2903, doi:10.1038/s41467-019-10827-4",
    "mace": "I. Batatia et al., Adv. Neural Inf. Process. Syst. 2022, 35, arXiv:2206.07697",
    "amsgrad": "S. J. Reddi, S. Kale, S. Kumar, ICLR 2018, arXiv:1904.09237",
    "adamw": "I. Loshchilov, F. Hutter, ICLR 2019, arXiv:1711.05101",
    "schedule_free": "A. Defazio et al., Adv. Neural Inf. Process. Syst. 2024, arXiv:2405.15682",
    "one_cycle": "L. N. Smith, N. Topin, 2017, arXiv:1708.07120",
    "cosine": "I. Loshchilov, F. Hutter, ICLR 2017, arXiv:1608.03983",
    "baoab": "B. Leimkuhler, C. Matthews, J. Chem. Phys. 2013, 138, 174102, doi:10.1063/1.4802990",
    "langevin": "B. Leimkuhler, C. Matthews, J. Chem. Phys. 2013, 138, 174102, "
    "doi:10.1063/1.4802990",
    "nose_hoover": "G. J. Martyna, M. L. Klein, M. Tuckerman, J. Chem. Phys. 1992, 97, "
    "2635, doi:10.1063/1.463940",
    "trpmd": "M. Rossi, M. Ceriotti, D. E. Manolopoulos, J. Chem. Phys. 2014, 140, 234116, "
    "doi:10.1063/1.4883861",
    "bcocb": "R. Korol, J. L. Rosa-Raices, N. Bou-Rabee, T. F. Miller, J. Chem. Phys. 2020, 152, "
    "104102, doi:10.1063/1.5134810",
    "MostUncertain": "H. S. Seung, M. Opper, H. Sompolinsky, COLT 1992, 287, "
    "doi:10.1145/130385.130417",
    "Distant": "V. Zaverkin et al., Digital Discovery 2022, 1, 605, doi:10.1039/D2DD00034B",
    "conformal": "Y. Hu et al., Mach. Learn.: Sci. Technol. 2022, 3, 045028, "
    "doi:10.1088/2632-2153/aca7b1",
    "etkdg": "S. Wang et al., J. Chem. Inf. Model. 2020, 60, 2044, doi:10.1021/acs.jcim.0c00025",
    "thomas": "M. Thomas et al., Phys. Chem. Chem. Phys. 2013, 15, 6608, doi:10.1039/C3CP44302G",
    "ramirez": "R. Ramírez et al., J. Chem. Phys. 2004, 121, 3973, doi:10.1063/1.1774986",
    "schnetpack": "K. T. Schütt et al., J. Chem. Phys. 2023, 158, 144801, doi:10.1063/5.0138367",
    "aspls": "F. Zhang et al., Spectrosc. Lett. 2020, 53, 222, doi:10.1080/00387010.2020.1730908",
    "bootstrap": "B. Efron, Ann. Stat. 1979, 7, 1, doi:10.1214/aos/1176344552",
    "martin": "J. M. L. Martin et al., J. Chem. Phys. 1995, 103, 2589, doi:10.1063/1.469681",
    "darling_dennison": "B. T. Darling, D. M. Dennison, Phys. Rev. 1940, 57, 128, "
    "doi:10.1103/PhysRev.57.128",
    "vpt2k": "P. R. Franke, J. F. Stanton, G. E. Douberly, J. Phys. Chem. A 2021, 125, 1301, "
    "doi:10.1021/acs.jpca.0c09526",
    "cochran": "W. G. Cochran, Sampling Techniques, 3rd ed., Wiley 1977, 6.2",
    "eckart": "C. Eckart, Phys. Rev. 1935, 47, 552, doi:10.1103/PhysRev.47.552",
}
WORDS = {
    "distributions": {
        "classical": "classical harmonic distribution",
        "quantum": "quantum harmonic distribution",
        "mixed": "classical and the quantum harmonic distribution in turn",
    },
    "starts": {"scratch": "scratch", "previous": "its weights from the previous iteration"},
    "optimisers": {"amsgrad": "AMSGrad", "adamw": "AdamW", "schedule_free": "schedule-free AdamW"},
    "schedules": {
        "doubling": "lengths that double while it pays",
        "one_cycle": "one cycle",
        "cosine": "falling as a cosine",
        "plateau": "lowered on plateaus",
        "constant": "constant",
    },
    "choices": {
        "MostUncertain": "those on which the members disagree most",
        "Distant": "those on which the members disagree and that are unlike what is labelled",
        "RandomFrames": "drawn at random",
    },
    "thermostats": {"langevin": "Langevin dynamics", "nose_hoover": "Nosé-Hoover chains"},
    "windows": {
        "hann": "a Hann window",
        "blackman": "a Blackman window",
        "gaussian": "a Gaussian window",
        "none": "no window",
    },
}


@dataclass
class References:
    """References of a text, numbered in the order of their first citation."""

    cited: list[str] = field(default_factory=list)

    def cite(self, *keys: str) -> Markup:
        """Return a link with the numbers of sources, keys of :data:`CITED` or whole references.

        A key that is not known is left out.
        """
        texts = [CITED.get(key, key if "doi:" in key or "arXiv:" in key else "") for key in keys]
        for text in filter(None, texts):
            if text not in self.cited:
                self.cited.append(text)
        numbers = [self.cited.index(text) + 1 for text in texts if text]
        return Markup(
            f' <a class="cite" href="#references">[{", ".join(map(str, numbers))}]</a>'
            if numbers
            else ""
        )


def method(
    study: StudySettings,
    molecules: Sequence[str],
    trainings: int,
    labels: int,
    md: Collection[str] = (),
    electrons: Mapping[str, str] | None = None,
) -> tuple[Markup, list[str]]:
    """Return the method of a study in words, and its references in order.

    Parameters
    ----------
    study : StudySettings
        The settings.
    molecules : sequence of str
        Names.
    trainings, labels : int
        Iterations done, and reference calculations used.
    md : collection of str
        What exists: ``predicted`` and ``reference`` spectra, ``anharmonic`` levels.
    electrons : mapping of str
        Charge and multiplicity of ions and open shells in words, by name.
    """
    references = References()
    settings = {
        key: value
        for key, value in study.engine.settings.items()
        if isinstance(value, str | int | float) and value not in ("", False)
    }
    text = render(
        "method.html",
        s=study,
        cite=references.cite,
        molecules=molecules,
        trainings=trainings,
        labels=labels,
        experiments=study.spectrum.experiments(molecules),
        engine_settings="; ".join(
            f"{key.replace('_', ' ')} {value}" for key, value in settings.items()
        )[:600],
        displacement=DISPLACEMENT,
        done=md,
        electrons=electrons or {},
        **WORDS,
    )
    return text, references.cited
