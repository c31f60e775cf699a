"""The ledger in the admin: to read, to search, and to decide; never to edit.

executions   the admin of executions, put together from what follows
permissions  nothing is added, edited or deleted; values are for those who may see them
list         the columns, and what the rows of a page have in common
filters, search, dates, paging, workers   what the list can be asked, each by an index
detail       one execution's page     story  what happened to it
decisions    what a person may decide, and whether it is still so
deciding     the page that asks for confirmation     again  a task's message, made anew
export       the list as a file
written, called_with   for the admin of your own models: which executions wrote a row, and which
             were called with it
overview/    executions over time, durations, what waits
"""

from .called_with import CalledWith
from .executions import TaskExecutionAdmin
from .written import WrittenBy

__all__ = ["CalledWith", "TaskExecutionAdmin", "WrittenBy"]
