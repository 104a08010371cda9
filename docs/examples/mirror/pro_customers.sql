-- Every customer on the pro plan: one row per customer. Who leaves the plan leaves the result.
SELECT
    customers.id AS customer_id,
    customers.email,
    customers.first_name
FROM customers
WHERE customers.plan_type = 'pro'
ORDER BY customers.id;
