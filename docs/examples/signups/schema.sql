-- The table the example sync reads, with five trials to try it on. All people are invented.
CREATE TABLE IF NOT EXISTS trials (
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    user_id    BIGINT UNSIGNED NOT NULL,
    email      VARCHAR(254),
    first_name VARCHAR(100),
    company    VARCHAR(100),
    plan       VARCHAR(20) NOT NULL,
    newsletter TINYINT(1) NOT NULL DEFAULT 0,
    interests  JSON,
    started_at DATETIME(6) NOT NULL COMMENT 'UTC',
    ends_on    DATE NOT NULL,
    KEY trials_started_at (started_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

INSERT INTO trials (id, user_id, email, first_name, company, plan, newsletter, interests, started_at, ends_on) VALUES
    (1, 501, 'ines.costa@example.com',      'Inês',  'Costa Lda', 'team',   1, '["maps", "routing"]', '2026-01-13 07:30:00', '2026-01-27'),
    (2, 502, NULL,                          'Tomás', NULL,        'single', 0, NULL,                  '2026-01-13 21:05:00', '2026-01-27'),
    (3, 503, 'demo@internal.example.com',   'Demo',  'Our own',   'team',   0, NULL,                  '2026-01-13 12:00:00', '2026-01-27'),
    (4, 504, 'lena.vogel@example.org',      'Lena',  NULL,        'single', 1, '["maps"]',            '2026-01-14 09:00:00', '2026-01-28'),
    (5, 505, 'not an e-mail',               'Otto',  NULL,        'single', 0, NULL,                  '2026-01-14 10:00:00', '2026-01-28')
ON DUPLICATE KEY UPDATE id = VALUES(id);
