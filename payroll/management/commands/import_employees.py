from payroll.imports import EmployeeImport
from payroll.management.import_command import ImportCommand


class Command(ImportCommand):
    help = "Import employees and rates from a CSV file; its format is described in payroll/imports."
    importer = EmployeeImport
    what = "employees and rates"
