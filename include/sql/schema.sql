-- The source of the example sync: customers and the pages they viewed; and the people who asked to be forgotten.
-- MySQL 8.0 to 9.x and MariaDB 10.6 or newer. Load it into a database of your choice, as often as you like:
--   mysql --database=shop < include/sql/schema.sql
SET NAMES utf8mb4;

CREATE TABLE IF NOT EXISTS customers (
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    email      VARCHAR(254) NOT NULL,
    first_name VARCHAR(100) NOT NULL,
    last_name  VARCHAR(100) NOT NULL,
    plan_type  ENUM('free', 'basic', 'pro', 'enterprise') NOT NULL DEFAULT 'free',
    candidate  BOOLEAN NOT NULL DEFAULT FALSE COMMENT 'marked as a candidate for an upgrade',
    created_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    updated_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
    PRIMARY KEY (id),
    -- The collation ignores case, so one address in two spellings is refused.
    UNIQUE KEY customers_email (email),
    KEY customers_plan_type (plan_type)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

CREATE TABLE IF NOT EXISTS page_views (
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    user_id    BIGINT UNSIGNED NOT NULL,
    page       VARCHAR(100) NOT NULL,
    device     VARCHAR(50) NOT NULL,
    browser    VARCHAR(50) NOT NULL,
    location   VARCHAR(100) NOT NULL,
    event_time DATETIME(6) NOT NULL COMMENT 'UTC',
    PRIMARY KEY (id),
    -- Which views of these pages lie in the window?
    KEY page_views_page_event_time (page, event_time),
    -- Which views of any page lie in the window?
    KEY page_views_event_time (event_time),
    KEY page_views_user_id (user_id),
    CONSTRAINT page_views_user_id FOREIGN KEY (user_id) REFERENCES customers (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

CREATE TABLE IF NOT EXISTS forget_requests (
    email    VARCHAR(254) NOT NULL,
    asked_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    PRIMARY KEY (email)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;
