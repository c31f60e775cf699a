"""What the documents say of the faults is what there is."""

import ast

import pytest

from payroll.bank_guarantees import documents
from tests.chaos import report
from tests.chaos.faults import ALL, Fault
from tests.workers import ROOT


@pytest.mark.parametrize("fault", ALL, ids=lambda fault: fault.name)
def test_each_fault_has_a_test_of_its_own(fault: Fault) -> None:
    path, _, name = fault.shown_by.partition("::")
    defined = ast.walk(ast.parse((ROOT / "tests" / path).read_text()))
    assert name in {node.name for node in defined if isinstance(node, ast.FunctionDef)}


def test_the_documents_table_of_faults_is_the_suites() -> None:
    assert documents.find(report.DOCUMENT, "chaos-faults") == report.promises()
