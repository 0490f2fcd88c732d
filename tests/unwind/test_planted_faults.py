"""Faults that are planted in the engine fit its source; whether they are noticed takes minutes to say."""

from __future__ import annotations

import pytest

from plant_faults import ENGINE, FAULTS, ROOT, Fault


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_has_one_place(fault: Fault) -> None:
    assert (ROOT / ENGINE / fault.file).read_text().count(fault.right) == 1
    assert fault.wrong != fault.right


def test_faults_have_names_of_their_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 20
