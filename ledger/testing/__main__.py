"""The process of a worker that ``ledger_worker`` started."""

from .worker import work

work()
