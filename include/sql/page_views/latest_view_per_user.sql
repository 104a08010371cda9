-- The latest pricing or settings view of each pro customer within the window: one row per customer.
--
-- This is the query of the DAG iterable_page_views. The first part, a common table expression (WITH), numbers the
-- qualifying views of each customer from the newest. The second part keeps number 1 of each. A GROUP BY with
-- MAX(event_time) could find the time, but not the page, device and location that belong to it.
--
-- Parameters: %(window_start)s is the first moment of the window, %(window_end)s the first moment after it, both
-- UTC. The query never asks what time it is now, so a backfill of a past day gives that day's answer. Ties in
-- event_time go to the higher id, so that every run chooses the same view.
WITH ranked_views AS (
    SELECT
        customers.id AS user_id,
        customers.email,
        customers.first_name,
        customers.last_name,
        customers.plan_type,
        customers.candidate,
        page_views.id AS page_view_id,
        page_views.page,
        page_views.device,
        page_views.browser,
        page_views.location,
        page_views.event_time,
        ROW_NUMBER() OVER (
            PARTITION BY page_views.user_id
            ORDER BY page_views.event_time DESC, page_views.id DESC
        ) AS recency
    FROM page_views
    JOIN customers ON customers.id = page_views.user_id
    WHERE customers.plan_type = 'pro'
        AND page_views.page IN ('pricing', 'settings')
        AND page_views.event_time >= %(window_start)s
        AND page_views.event_time < %(window_end)s
)
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
FROM ranked_views
WHERE recency = 1
ORDER BY user_id;
