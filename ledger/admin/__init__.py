"""The ledger in the admin: to read, to search, and to decide; never to edit.

executions   the admin of executions, put together from what follows
permissions  nothing is added, edited or deleted
list         the columns, and what the rows of a page have in common
story        what happened to one execution
"""

from .executions import TaskExecutionAdmin

__all__ = ["TaskExecutionAdmin"]
