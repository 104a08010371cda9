-- The trials that began within the window, without those of our own people: one row per trial.
SELECT
    trials.id AS trial_id,
    trials.user_id,
    trials.email,
    trials.first_name,
    trials.company,
    trials.plan AS trial_plan,
    trials.newsletter,
    trials.interests,
    trials.started_at,
    trials.ends_on
FROM trials
WHERE trials.started_at >= %(window_start)s
    AND trials.started_at < %(window_end)s
    AND (trials.email IS NULL OR trials.email NOT LIKE '%%@internal.example.com')
ORDER BY trials.id;
