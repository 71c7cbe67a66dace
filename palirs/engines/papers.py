"""Papers to cite for methods and programs of engines."""

PAPERS: dict[str | None, str] = {
    "GFN2-xTB": (
        "C. Bannwarth, S. Ehlert, S. Grimme, J. Chem. Theory Comput. 2019, 15, 1652, "
        "doi:10.1021/acs.jctc.8b01176"
    ),
    "GFN1-xTB": (
        "S. Grimme, C. Bannwarth, P. Shushkov, J. Chem. Theory Comput. 2017, 13, 1989, "
        "doi:10.1021/acs.jctc.7b00118"
    ),
    "IPEA1-xTB": (
        "V. Ásgeirsson, C. A. Bauer, S. Grimme, Chem. Sci. 2017, 8, 4879, doi:10.1039/C7SC00601B"
    ),
    "aims": "V. Blum et al., Comput. Phys. Commun. 2009, 180, 2175, doi:10.1016/j.cpc.2009.06.022",
    "pyscf": "Q. Sun et al., J. Chem. Phys. 2020, 153, 024109, doi:10.1063/5.0006074",
    "pbe": (
        "J. P. Perdew, K. Burke, M. Ernzerhof, Phys. Rev. Lett. 1996, 77, 3865, "
        "doi:10.1103/PhysRevLett.77.3865"
    ),
    "b3lyp": "P. J. Stephens et al., J. Phys. Chem. 1994, 98, 11623, doi:10.1021/j100096a001",
    "def2": "F. Weigend, R. Ahlrichs, Phys. Chem. Chem. Phys. 2005, 7, 3297, doi:10.1039/B508541A",
    "def2-svpd": "D. Rappoport, F. Furche, J. Chem. Phys. 2010, 133, 134105, doi:10.1063/1.3484283",
    "d3zero": "S. Grimme et al., J. Chem. Phys. 2010, 132, 154104, doi:10.1063/1.3382344",
    "d3bj": (
        "S. Grimme, S. Ehrlich, L. Goerigk, J. Comput. Chem. 2011, 32, 1456, doi:10.1002/jcc.21759"
    ),
    "d4": "E. Caldeweyher et al., J. Chem. Phys. 2019, 150, 154122, doi:10.1063/1.5090222",
    "hirshfeld": (
        "A. Tkatchenko, M. Scheffler, Phys. Rev. Lett. 2009, 102, 073005, "
        "doi:10.1103/PhysRevLett.102.073005"
    ),
}
"""Papers by parametrisation, program, functional, basis set (or its family), dispersion model."""
