"""Tables of several molecules."""

from palirs.report.spectral import mean_in_words


def test_means_are_over_the_molecules_that_have_the_number():
    found = mean_in_words([{"pcc": 0.8, "wd": 0.1}, {"pcc": 1.0}, {"pcc": 0.9}])
    assert found == {"pcc": "0.900 ± 0.058"}
    assert mean_in_words([]) == {}
