-- Employees with a payslip; messages that came to an end; and whether those are all of them.
-- A delivery that was put back for later (RETRY) has not come to an end.
SELECT
    (SELECT count(DISTINCT employee_id) FROM payroll_payslip) AS paid,
    sum(least(coalesce(ended, 0), published))::integer AS ended,
    bool_and(coalesce(ended, 0) >= published) AS finished
FROM (
    SELECT task_id, count(*) AS published FROM demo_message GROUP BY task_id
) AS messages
LEFT JOIN (
    SELECT task_id, count(*) AS ended FROM demo_delivery
    WHERE outcome NOT IN ('RETRY', 'REJECTED') GROUP BY task_id
) AS deliveries USING (task_id)
