-- The rows of the benchmarks: the 12 columns of latest_view_per_user.sql, generated in the database (rows.py).
SELECT
    user_id,
    email,
    first_name,
    last_name,
    plan_type,
    candidate,
    page_view_id,
    page,
    device,
    browser,
    location,
    event_time
FROM benchmark_rows
ORDER BY page_view_id;
