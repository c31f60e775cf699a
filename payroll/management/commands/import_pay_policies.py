from payroll.imports import PayPolicyImport
from payroll.management.import_command import ImportCommand


class Command(ImportCommand):
    help = "Import pay policies from a CSV file; its format is described in payroll/imports."
    importer = PayPolicyImport
    what = "pay policies"
