-- What must hold when the month is paid. Each query finds those for whom it does not, as (who,
-- expected, found); a check holds when its query finds nobody. Parameters: year, month.

-- check: Every employee has one payslip for the month, and nobody has another
SELECT number,
       CASE WHEN expected.number IS NULL THEN 'no payslip' ELSE '1 payslip' END,
       format('%%s, and %%s of other months', coalesce(in_month, 0), coalesce(others, 0))
FROM demo_expected AS expected
FULL JOIN (
    SELECT number,
           count(*) FILTER (WHERE year = %(year)s AND month = %(month)s) AS in_month,
           count(*) FILTER (WHERE year <> %(year)s OR month <> %(month)s) AS others
    FROM payroll_payslip JOIN payroll_employee ON payroll_employee.id = employee_id
    GROUP BY number
) AS posted USING (number)
WHERE expected.number IS NULL OR coalesce(in_month, 0) <> 1 OR others <> 0;

-- check: Every employee earned to the cent what the CSV files say
SELECT number, row(currency, minutes, gross, withholding, net)::text, coalesce(found, 'nothing')
FROM demo_expected
LEFT JOIN (
    SELECT number,
           row(payroll_payslip.currency, sum(minutes), sum(gross), sum(withholding), sum(net))::text
               AS found,
           sum(minutes) AS posted_minutes, sum(gross) AS posted_gross,
           sum(withholding) AS posted_withholding, sum(net) AS posted_net,
           payroll_payslip.currency AS posted_currency
    FROM payroll_payslip JOIN payroll_employee ON payroll_employee.id = employee_id
    GROUP BY number, payroll_payslip.currency
) AS posted USING (number)
WHERE (currency, minutes, gross, withholding, net)
    IS DISTINCT FROM (posted_currency, posted_minutes, posted_gross, posted_withholding, posted_net);

-- check: Every payslip is the sum of its lines
SELECT format('payslip %%s', payslip.id), payslip.net::text, coalesce(sum(line.amount), 0)::text
FROM payroll_payslip AS payslip
LEFT JOIN payroll_payslipline AS line ON line.payslip_id = payslip.id
GROUP BY payslip.id, payslip.net
HAVING coalesce(sum(line.amount), 0) <> payslip.net;

-- check: Every journal entry sums to zero
SELECT format('journal entry %%s', entry.id), '0.00 from two lines or more',
       format('%%s from %%s', coalesce(sum(line.amount), 0), count(line.id))
FROM payroll_journalentry AS entry
LEFT JOIN payroll_journalline AS line ON line.entry_id = entry.id
GROUP BY entry.id
HAVING coalesce(sum(line.amount), 0) <> 0 OR count(line.id) < 2;

-- check: Every payslip is in the books once, with its own amounts
SELECT format('payslip %%s', payslip.id),
       row(payslip.gross, -payslip.withholding, -payslip.net)::text,
       coalesce(string_agg(row(booked.expense, booked.withheld, booked.payable)::text, ' and '),
                'no entry')
FROM payroll_payslip AS payslip
LEFT JOIN (
    SELECT entry.payslip_id,
           coalesce(sum(amount) FILTER (WHERE account = 'wages_expense'), 0) AS expense,
           coalesce(sum(amount) FILTER (WHERE account = 'withholding_payable'), 0) AS withheld,
           coalesce(sum(amount) FILTER (WHERE account = 'wages_payable'), 0) AS payable
    FROM payroll_journalentry AS entry
    JOIN payroll_journalline AS line ON line.entry_id = entry.id
    GROUP BY entry.id, entry.payslip_id
) AS booked ON booked.payslip_id = payslip.id
WHERE payslip.gross <> 0
GROUP BY payslip.id, payslip.gross, payslip.withholding, payslip.net
HAVING count(booked.payslip_id) <> 1
    OR bool_or((booked.expense, booked.withheld, booked.payable)
               <> (payslip.gross, -payslip.withholding, -payslip.net));

-- check: Nobody is paid twice, and everybody the net of the CSV files
SELECT number, format('%%s of %%s %%s', CASE WHEN net > 0 THEN 1 ELSE 0 END, net, currency),
       format('%%s of %%s', coalesce(payments, 0), coalesce(paid, '0.00'))
FROM demo_expected
LEFT JOIN (
    SELECT number, count(*) AS payments, sum(payment.amount) AS amount,
           string_agg(format('%%s %%s', payment.amount, payment.currency), ' and ') AS paid,
           min(payment.currency) AS paid_in
    FROM payroll_payment AS payment
    JOIN payroll_payslip ON payroll_payslip.id = payment.payslip_id
    JOIN payroll_employee ON payroll_employee.id = employee_id
    GROUP BY number
) AS paid USING (number)
WHERE CASE WHEN net > 0 THEN payments IS DISTINCT FROM 1 OR amount <> net OR paid_in <> currency
           ELSE payments IS NOT NULL END;

-- check: Every employee has one execution in the ledger, and it is completed; none is left running
SELECT number, 'completed', coalesce(string_agg(execution.state, ', '), 'no execution')
FROM demo_expected
JOIN payroll_employee USING (number)
LEFT JOIN ledger_taskexecution AS execution
    ON (execution.arguments ->> 'employee_id')::bigint = payroll_employee.id
GROUP BY number
HAVING count(*) <> 1 OR count(*) FILTER (WHERE execution.state = 'completed') <> 1;

-- check: No delivery failed
SELECT task_id, 'SUCCESS, or RETRY for later', outcome
FROM demo_delivery WHERE outcome NOT IN ('SUCCESS', 'RETRY', 'REJECTED');

-- check: Every success is accounted for: it was the execution, or a duplicate that was answered
SELECT 'the month', format('at most %%s', completed + answered), succeeded::text
FROM (
    SELECT (SELECT count(*) FROM ledger_taskexecution WHERE state = 'completed') AS completed,
           (SELECT count(*) FROM ledger_executionevent WHERE kind = 'skipped') AS answered,
           (SELECT count(*) FROM demo_delivery WHERE outcome = 'SUCCESS') AS succeeded
) AS counted
WHERE succeeded > completed + answered;

-- check: Every payslip that a worker was killed in was taken over by another
SELECT demo_kill.number, 'abandoned, then taken_over',
       coalesce(string_agg(event.kind, ', ' ORDER BY event.id), 'nothing')
FROM demo_kill
JOIN payroll_employee USING (number)
LEFT JOIN ledger_taskexecution AS execution
    ON (execution.arguments ->> 'employee_id')::bigint = payroll_employee.id
LEFT JOIN ledger_executionevent AS event
    ON event.execution_id = execution.id AND event.kind IN ('abandoned', 'taken_over')
GROUP BY demo_kill.number
HAVING coalesce(string_agg(event.kind, ', ' ORDER BY event.id), '')
    NOT LIKE 'abandoned, taken_over%%';
