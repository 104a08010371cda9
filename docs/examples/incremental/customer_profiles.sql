-- The customers that changed after the place where the run before ended: one row per customer.
SELECT
    customers.id AS customer_id,
    customers.email,
    customers.first_name,
    customers.plan_type,
    customers.updated_at
FROM customers
WHERE customers.updated_at >= %(after_time)s
    AND (customers.updated_at > %(after_time)s OR customers.id > %(after_key)s)
    AND customers.updated_at < %(before_time)s
ORDER BY customers.updated_at, customers.id;
