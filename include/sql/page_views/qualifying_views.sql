-- Every view of the pricing or settings page by a pro customer within the window, newest first per customer.
--
-- Use it to see what latest_view_per_user.sql chooses from: ROW_NUMBER counts the views of each customer
-- (PARTITION BY) from the newest (ORDER BY event_time DESC), so the row with recency 1 is the one chosen there.
-- Two views in the same microsecond are told apart by their id, which makes the order the same on every run.
--
-- Parameters: %(window_start)s is the first moment of the window, %(window_end)s the first moment after it, both
-- UTC. The half-open window (>= start, < end) neither misses nor repeats a view between two days, and because the
-- query never asks what time it is now, a backfill of a past day gives that day's answer.
SELECT
    customers.id AS user_id,
    customers.email,
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
ORDER BY user_id, recency;
