from payroll.imports import WorkLogImport
from payroll.management.import_command import ImportCommand


class Command(ImportCommand):
    help = "Import work logs from a CSV file; its format is described in payroll/imports."
    importer = WorkLogImport
    what = "work logs"
