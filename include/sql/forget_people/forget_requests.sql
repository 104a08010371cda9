-- The people who asked to be forgotten, one row each; include/sql/schema.sql has the table.
SELECT email FROM forget_requests ORDER BY email;
