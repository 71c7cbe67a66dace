"""What can be told of a structure, or made, without calculating its energy: bonds, torsions, equality, the geometry of a SMILES."""
