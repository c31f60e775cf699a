"""Six tasks and three plain functions under the ledger, to copy. ``tests/examples`` breaks each.

daily            old sessions are deleted once a day
once             the same alert is mailed once in 24 hours
monthly_payroll  an employee's payslip for a month, posted once
strict_money     a booking between accounts; a duplicate is an error
bank_transfer    at most once: what is in doubt waits for a person, who releases it
month_close      a long job in steps, resumed where it died; what follows commits with it

view, webhook, management/commands/raise_pay: the same decorator without Celery
rolling          beside an old cache decorator, until the last old worker is gone
models           the few tables that they write
template/        a task and its test, to start a new one from
"""
