"""Tables as CSV files."""

from palirs.results.tables import read_table, write_table


def test_a_table_brings_its_directory_and_survives(tmp_path):
    file = tmp_path / "spectra" / "table.csv"
    rows = [{"level": "ν1", "cm1": 1043.25}, {"level": "2ν1", "caveat": "mixed, 49 %"}]
    write_table(file, rows)
    assert read_table(file) == rows
    assert [each.name for each in file.parent.iterdir()] == ["table.csv"]
