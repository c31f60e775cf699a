-- What happened. Parameters: year, month.
SELECT
    (SELECT count(*) FROM demo_message) AS published,
    (SELECT count(*) FROM demo_delivery) AS delivered,
    (SELECT sum(greatest(published - ended, 0))::integer FROM (
        SELECT count(*) AS published,
               (SELECT count(*) FROM demo_delivery AS delivery
                WHERE delivery.task_id = message.task_id
                  AND outcome NOT IN ('RETRY', 'REJECTED')) AS ended
        FROM demo_message AS message GROUP BY message.task_id
    ) AS messages) AS missing,
    (SELECT count(*) FROM demo_delivery WHERE outcome = 'RETRY') AS put_back,
    (SELECT count(*) FROM ledger_taskexecution WHERE state = 'completed') AS executions,
    (SELECT count(*) FROM ledger_executionevent WHERE kind = 'skipped') AS answered,
    (SELECT count(*) FROM ledger_executionevent WHERE kind = 'taken_over') AS taken_over,
    (SELECT count(*) FROM demo_kill) AS killed,
    (SELECT count(*) FROM payroll_payslip) AS payslips,
    count(*) FILTER (WHERE posted > 1) AS posted_twice,
    count(*) FILTER (WHERE posted = 0) AS lost
FROM (
    SELECT count(payslip.id) AS posted
    FROM demo_expected
    JOIN payroll_employee AS employee USING (number)
    LEFT JOIN payroll_payslip AS payslip
        ON payslip.employee_id = employee.id AND (year, month) = (%(year)s, %(month)s)
    GROUP BY number
) AS employees
