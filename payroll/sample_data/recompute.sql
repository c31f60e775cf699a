-- What each employee of the generated company earned in a month, worked out a second time from the
-- CSV files alone and in the dullest way: one by one, each step of five, six or fifteen minutes that
-- punches are rounded to, for days, nights and thresholds are whole numbers of steps as well. It
-- shares no code with the application.
--
-- Needs three tables, csv_pay_policies, csv_employees and csv_work_logs, of text columns named as in
-- the files and filled by COPY … (FORMAT csv, HEADER). Parameters: first_day, last_day of the month.
-- Gives number, currency, minutes, gross, withholding and net of everybody employed in it.
WITH
holidays (policy, day) AS (  -- of the two months that the company worked, from official calendars
    VALUES ('BERLIN', date '2025-10-03'),
           ('NEWYORK', '2025-10-13'), ('NEWYORK', '2025-11-11'),
           ('NEWYORK', '2025-11-27'),
           ('CALIFORNIA', '2025-11-11'), ('CALIFORNIA', '2025-11-27'), ('CALIFORNIA', '2025-11-28')
),
policies AS (
    SELECT code AS policy, week_start::int, minute_step::int AS step,
           coalesce(nullif(daily_after, '')::int, 9999) AS daily_after, daily_multiplier::numeric,
           coalesce(nullif(double_after, '')::int, 9999) AS double_after,
           double_multiplier::numeric,
           coalesce(nullif(weekly_after, '')::int, 99999) AS weekly_after,
           weekly_multiplier::numeric,
           nullif(night_start, '')::time AS night_start, nullif(night_end, '')::time AS night_end,
           night_premium::numeric, holiday_multiplier::numeric, withholding_rate::numeric
    FROM csv_pay_policies
),
people AS (
    SELECT DISTINCT number, currency, time_zone, pay_policy AS policy, hired_on::date,
           coalesce(nullif(left_on, '')::date, 'infinity') AS left_on
    FROM csv_employees
),
rates AS (
    SELECT number, hourly_rate::numeric AS rate, rate_valid_from::date AS since,
           lead(rate_valid_from::date, 1, 'infinity')
               OVER (PARTITION BY number ORDER BY rate_valid_from::date) AS until
    FROM csv_employees
),
logs AS (  -- the readings of the clock go to the nearest step, half up; counted in steps
    SELECT number, step, (starts - starts_past + CASE WHEN starts_past * 2 >= step * 60
                          THEN step * 60 ELSE 0 END) / (step * 60) AS start,
           (stops - stops_past + CASE WHEN stops_past * 2 >= step * 60
            THEN step * 60 ELSE 0 END) / (step * 60) AS stop
    FROM csv_work_logs
    JOIN people ON number = employee_number
    JOIN policies USING (policy)
    CROSS JOIN LATERAL (SELECT
        extract(epoch FROM check_in::timestamptz)::bigint AS starts,
        extract(epoch FROM check_in::timestamptz AT TIME ZONE people.time_zone)::bigint
            %% (step * 60) AS starts_past,
        extract(epoch FROM nullif(check_out, '')::timestamptz)::bigint AS stops,
        extract(epoch FROM nullif(check_out, '')::timestamptz AT TIME ZONE people.time_zone)::bigint
            %% (step * 60) AS stops_past) AS epochs
    WHERE check_out <> ''
      AND check_in::timestamptz BETWEEN %(first_day)s::date - 9 AND %(last_day)s::date + 2
),
worked AS (  -- every step once, however many logs cover it
    SELECT DISTINCT number, tick, tick * step * 60 AS epoch
    FROM logs CROSS JOIN LATERAL generate_series(start, stop - 1) AS ticks (tick)
),
placed AS (
    SELECT number, policy, tick, local::date AS day, rate,
           local::date - (extract(isodow FROM local)::int - 1 - week_start + 7) %% 7 AS week,
           coalesce(CASE WHEN night_start <= night_end
                    THEN local::time >= night_start AND local::time < night_end
                    ELSE local::time >= night_start OR local::time < night_end END, false) AS night,
           (policy, local::date) IN (SELECT policy, day FROM holidays) AS holiday,
           row_number() OVER (PARTITION BY number, local::date ORDER BY tick) * step AS in_day
    FROM worked
    JOIN people USING (number)
    JOIN policies USING (policy)
    CROSS JOIN LATERAL (SELECT to_timestamp(epoch) AT TIME ZONE time_zone AS local) AS clock
    JOIN rates USING (number)
    WHERE local::date BETWEEN hired_on AND left_on AND local::date <= %(last_day)s::date
      AND local::date >= since AND local::date < until
),
by_day AS (  -- the greater of the day's premiums
    SELECT number, policy, tick, day, week, rate, night, step, weekly_after,
           CASE WHEN in_day > double_after
                THEN CASE WHEN holiday AND holiday_multiplier > double_multiplier
                          THEN 'holiday' ELSE 'double' END
                WHEN in_day > daily_after
                THEN CASE WHEN holiday AND holiday_multiplier > daily_multiplier
                          THEN 'holiday' ELSE 'daily' END
                WHEN holiday AND holiday_multiplier > 1 THEN 'holiday'
                ELSE 'straight' END AS tier
    FROM placed JOIN policies USING (policy)
    WHERE week > %(first_day)s::date - 7
),
by_week AS (  -- only hours without a premium count towards the week
    SELECT number, policy, day, week, rate, night,
           CASE WHEN tier = 'straight' AND weekly_after <
                    step * count(*) FILTER (WHERE tier = 'straight')
                           OVER (PARTITION BY number, week ORDER BY tick)
                THEN 'weekly' ELSE tier END AS kind
    FROM by_day
),
by_rate AS (  -- hours, night and holiday premiums: in the month of their day
    SELECT number, sum(step) AS minutes,
           round(sum(step) * rate / 60, 2)
           + round(coalesce(sum(step) FILTER (WHERE night), 0)
                   * rate * max(night_premium) / 60, 2)
           + round(coalesce(sum(step) FILTER (WHERE kind = 'holiday'), 0)
                   * rate * (max(holiday_multiplier) - 1) / 60, 2) AS amount
    FROM by_week JOIN policies USING (policy)
    WHERE day >= %(first_day)s::date GROUP BY number, rate
),
weeks AS (  -- overtime premiums: in the month in which the workweek ends, or the employment
    SELECT number, week, least(week + 6, left_on) AS closes, sum(step) AS minutes,
           sum(step * rate * (1 + CASE WHEN night THEN night_premium ELSE 0 END)) AS earnings,
           sum(step) FILTER (WHERE kind = 'daily') * (max(daily_multiplier) - 1) AS daily,
           sum(step) FILTER (WHERE kind = 'double') * (max(double_multiplier) - 1) AS double,
           sum(step) FILTER (WHERE kind = 'weekly') * (max(weekly_multiplier) - 1) AS weekly
    FROM by_week JOIN policies USING (policy) JOIN people USING (number)
    GROUP BY number, week, left_on
),
earned AS (
    SELECT number, minutes, amount FROM by_rate
    UNION ALL
    SELECT number, 0, round(coalesce(premium, 0) * earnings / (60 * minutes), 2)
    FROM weeks CROSS JOIN LATERAL (VALUES (daily), (double), (weekly)) AS premiums (premium)
    WHERE closes BETWEEN %(first_day)s::date AND %(last_day)s::date
),
totals AS (
    SELECT number, sum(minutes) AS minutes, sum(amount) AS gross FROM earned GROUP BY number
)
SELECT number, currency, coalesce(minutes, 0) AS minutes, coalesce(gross, 0) AS gross,
       coalesce(round(gross * withholding_rate, 2), 0) AS withholding,
       coalesce(gross - round(gross * withholding_rate, 2), 0) AS net
FROM people JOIN policies USING (policy) LEFT JOIN totals USING (number)
WHERE hired_on <= %(last_day)s::date AND left_on >= %(first_day)s::date
ORDER BY number
