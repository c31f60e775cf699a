"""Payroll for a company that pays by the hour: work logs in, payslips, journals and payments out.

Tables (models/), each amount beside its currency:

    payroll_paypolicy     thresholds in minutes, multipliers, night and holidays, rounding
    payroll_employee      number, currency, time zone, policy, hired_on, left_on, email, iban
    payroll_hourlyrate    what an hour is worth from a day on
    payroll_worklog       check_in, check_out (null while missing), time zone of the clock
    payroll_payslip       employee, year, month, sequence; kind regular or correction; minutes,
                          gross, withholding, net, issues (work logs not paid in full)
    payroll_payslipline   kind, minutes, rate, multiplier, amount; they sum to the payslip's net
    payroll_journalentry  for a payslip or for a payment
    payroll_journalline   account and amount, debits positive; an entry's lines sum to zero
    payroll_payment       net pay, pending or sent; the bank's number of it

Payslips and journals are never updated or deleted; triggers refuse it. A month is corrected by
another payslip with the next sequence, holding the difference. Duplicates are answered by the
ledger, which tasks.py and the commands go through; a constraint refuses the month a second regular
payslip when the ledger has forgotten the first.

The money: posting a payslip debits wages_expense with the gross and credits withholding_payable and
wages_payable with the net. If the month is worth more than its payments, the rest is a pending
payment, written in the same commit. Once the bank has booked it, wages_payable is debited and bank
credited. A negative correction leaves a debit in wages_payable, which the employee owes and later
corrections of the month are set against.

What leaves the database, payments and e-mails, is committed with the payslip as a follow-up; how a
payment reaches a bank, paying.py says, what becomes of those that do not, chasing.py, and what a
person does then, docs/payments.md. A month for many employees is the steps of one execution
(bulk.py).

The rules (rules/), in the employee's time zone and with the policy's figures:

     1  Punches go to the nearest minute_step of the clock, half up. Time covered twice is paid
        once, an open log and work outside the employment are not; the payslip reports all three.
     2  Minutes are elapsed minutes; work is cut at midnight and at the edges of the night.
     3  Every minute earns its hourly rate, the one valid on its day.
     4  A minute by night earns night_premium of that rate on top.
     5  A minute beyond daily_after in its day is overtime, beyond double_after double time; on a
        public holiday it earns the holiday multiplier if that is greater.
     6  Of the minutes without a premium by rule 5, those beyond weekly_after in the workweek are
        weekly overtime. The last minutes of a day and of a week are the overtime.
     7  Overtime pays (multiplier - 1) of the week's regular rate: its earnings by rules 3 and 4,
        divided by its minutes. Holidays pay (multiplier - 1) of the hourly rate.
     8  Rules 3, 4 and holidays are paid in the month of the day; overtime in the month in which the
        workweek ends, or the employment.
     9  Each line is one rounding, half up to money_step: rules 3, 4 and holidays have a line for
        each hourly rate of the month, overtime one for each workweek and kind.
    10  Withholding is withholding_rate of the gross, rounded so, and stands in for taxes.

A second account of the same rules, in SQL and from the CSV files, is in sample_data/recompute.sql.
The CSV files are described in imports/.
"""
