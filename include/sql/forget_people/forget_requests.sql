-- The people who asked to be forgotten; the table is yours, see docs/forget.md.
SELECT email FROM forget_requests ORDER BY email;
