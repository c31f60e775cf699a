"""CSV files in, rows of the database out.

A file is UTF-8 with commas and a header line; its columns may come in any order. It is imported in
one transaction, while other imports of the same kind wait. A row that is wrong is reported with its
line and the rest is imported, unless the import is strict: then the first wrong row ends it, and
nothing is imported. A file that cannot be read to its end is never imported in part. What is
already there is recognised, so that importing a file again adds nothing.

pay_policies.csv   one row a policy, known by `code`; columns as in PayPolicy
employees.csv      one row an employee and rate, known by `number` and `rate_valid_from`
work_logs.csv      one row a log, known by `employee_number` and `check_in`. Times are ISO 8601,
                   with an offset or by the clock in `time_zone`; an empty check_out is a missing
                   one, and a later file that has it completes the log
"""

from .csv_file import BadFile, BadRow
from .employees import EmployeeImport
from .pay_policies import PayPolicyImport
from .run import Counts, import_file
from .work_logs import WorkLogImport

__all__ = [
    "BadFile",
    "BadRow",
    "Counts",
    "EmployeeImport",
    "PayPolicyImport",
    "WorkLogImport",
    "import_file",
]
