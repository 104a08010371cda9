-- How engaged each pro customer was within the window: one row per customer with at least one view of any page.
--
-- GROUP BY folds all views of a customer into one row. COUNT(DISTINCT ...) counts different pages and devices,
-- MIN and MAX give the first and last view, and GROUP_CONCAT lists the pages, each once and in alphabetical order,
-- so that the same views always give the same text.
--
-- Parameters: %(window_start)s is the first moment of the window, %(window_end)s the first moment after it, both
-- UTC. The query never asks what time it is now, so a backfill of a past day gives that day's answer.
SELECT
    customers.id AS user_id,
    customers.email,
    COUNT(*) AS views,
    COUNT(DISTINCT page_views.page) AS distinct_pages,
    COUNT(DISTINCT page_views.device) AS distinct_devices,
    MIN(page_views.event_time) AS first_view,
    MAX(page_views.event_time) AS last_view,
    GROUP_CONCAT(DISTINCT page_views.page ORDER BY page_views.page SEPARATOR ', ') AS pages
FROM customers
JOIN page_views ON page_views.user_id = customers.id
WHERE customers.plan_type = 'pro'
    AND page_views.event_time >= %(window_start)s
    AND page_views.event_time < %(window_end)s
GROUP BY customers.id, customers.email
ORDER BY user_id;
