-- RenderOnline's tables for MySQL 8 and MariaDB 10.6 or later: the original's eight, and ours.
--
--   mysql -u root -p -e "CREATE DATABASE renderonline"
--   mysql -u root -p renderonline < schema.sql
--
-- The api makes the same by itself in an empty database, and adds what is missing to an older one
-- or to the original's; importing this first is for those who do not let a program create tables.
-- It fills nothing in: `renderonline admin` does, or the INSERT statements of the original's README.

CREATE TABLE IF NOT EXISTS `subscriptions` (
  `subscription_id` int unsigned NOT NULL AUTO_INCREMENT,
  `name` varchar(50) NOT NULL,
  `queue_limit` int unsigned NOT NULL,
  `weight` double NOT NULL DEFAULT 1,
  `quota_bytes` bigint DEFAULT NULL,
  `retention_days_results` int unsigned DEFAULT NULL,
  `retention_days_projects` int unsigned DEFAULT NULL,
  PRIMARY KEY (`subscription_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS `users` (
  `user_id` int unsigned NOT NULL AUTO_INCREMENT,
  `first_name` varchar(50) NOT NULL,
  `last_name` varchar(50) NOT NULL,
  `email` varchar(255) NOT NULL,
  `subscription_id` int unsigned NOT NULL,
  `is_active` tinyint(1) NOT NULL,
  `token` text NOT NULL,
  `userscol` varchar(45) DEFAULT NULL,
  `role` varchar(16) NOT NULL DEFAULT 'artist',
  PRIMARY KEY (`user_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS `engines` (
  `engine_id` int unsigned NOT NULL AUTO_INCREMENT,
  `name` varchar(50) NOT NULL,
  `extension` varchar(50) NOT NULL,
  `download_path` text NOT NULL,
  `render_argument` text NOT NULL,
  `adapter` varchar(16) NOT NULL DEFAULT '',
  `file_pattern` varchar(255) DEFAULT NULL,
  `chunk_frames` int unsigned DEFAULT NULL,
  `machine_limit` int unsigned DEFAULT NULL,
  `version` varchar(16) DEFAULT NULL,
  `limits` text DEFAULT NULL,
  PRIMARY KEY (`engine_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS `argtypes` (
  `argtype_id` varchar(50) NOT NULL,
  `type` varchar(50) NOT NULL,
  `regex` text DEFAULT NULL,
  `default_value` varchar(255) DEFAULT NULL,
  PRIMARY KEY (`argtype_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS `machines` (
  `machine_id` int unsigned NOT NULL AUTO_INCREMENT,
  `ip_address` varchar(45) NOT NULL,
  `port` int unsigned NOT NULL,
  `name` varchar(100) NOT NULL DEFAULT '',
  `state` varchar(16) NOT NULL DEFAULT 'enabled',
  `reason` text DEFAULT NULL,
  `tags` varchar(255) NOT NULL DEFAULT '',
  `only_engines` varchar(255) NOT NULL DEFAULT '',
  `forgiven` bigint unsigned NOT NULL DEFAULT 0,
  `path_map` text DEFAULT NULL,
  `hours` varchar(255) NOT NULL DEFAULT '',
  `only_users` varchar(255) NOT NULL DEFAULT '',
  `reserve` varchar(40) NOT NULL DEFAULT '',
  PRIMARY KEY (`machine_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS `renders` (
  `render_id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `file_name` varchar(255) NOT NULL,
  `file_path` text NOT NULL,
  `file_size` bigint NOT NULL,
  `arguments` text NOT NULL,
  `engine_id` int unsigned NOT NULL,
  `manifest` char(64) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL,
  `folder` text DEFAULT NULL,
  PRIMARY KEY (`render_id`),
  KEY `renders_manifest` (`manifest`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS `tasks` (
  `task_id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `user_id` int unsigned NOT NULL,
  `queue_time` datetime NOT NULL,
  `start_time` datetime DEFAULT NULL,
  `end_time` datetime DEFAULT NULL,
  `is_running` tinyint(1) NOT NULL,
  `is_success` tinyint(1) NOT NULL,
  `render_id` bigint unsigned NOT NULL,
  `machine_id` int unsigned DEFAULT NULL,
  `state` varchar(16) NOT NULL DEFAULT 'queued',
  `version` int unsigned NOT NULL DEFAULT 0,
  `frames` text DEFAULT NULL,
  `cause` varchar(16) DEFAULT NULL,
  `message` text DEFAULT NULL,
  `todo` text DEFAULT NULL,
  `done` text DEFAULT NULL,
  `failed` text DEFAULT NULL,
  `preview` text DEFAULT NULL,
  `command` text DEFAULT NULL,
  `priority` int unsigned NOT NULL DEFAULT 50,
  `chunk_frames` int unsigned DEFAULT NULL,
  `machine_limit` int unsigned DEFAULT NULL,
  `engine_version` varchar(16) DEFAULT NULL,
  `tags` varchar(255) NOT NULL DEFAULT '',
  `notes` text DEFAULT NULL,
  `after_tasks` varchar(255) NOT NULL DEFAULT '',
  `start_at` datetime(6) DEFAULT NULL,
  `limits` text DEFAULT NULL,
  `forgiven` bigint unsigned NOT NULL DEFAULT 0,
  `parent_id` bigint unsigned DEFAULT NULL,
  `variant` varchar(50) DEFAULT NULL,
  PRIMARY KEY (`task_id`),
  KEY `tasks_parent_id` (`parent_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS `queue` (
  `queue_id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `task_id` bigint unsigned NOT NULL,
  PRIMARY KEY (`queue_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS `tokens` (
  `token_id` int unsigned NOT NULL AUTO_INCREMENT,
  `user_id` int unsigned NOT NULL,
  `name` varchar(50) NOT NULL,
  `hash` varchar(64) NOT NULL,
  `created_at` datetime(6) NOT NULL,
  PRIMARY KEY (`token_id`),
  UNIQUE KEY `tokens_hash` (`hash`),
  KEY `tokens_user_id` (`user_id`),
  CONSTRAINT `tokens_ibfk_1` FOREIGN KEY (`user_id`) REFERENCES `users` (`user_id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS `chunks` (
  `attempt_id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `task_id` bigint unsigned NOT NULL,
  `machine_id` int unsigned NOT NULL,
  `state` varchar(16) NOT NULL,
  `frames` text DEFAULT NULL,
  `key_hash` varchar(64) NOT NULL,
  `sequence` int unsigned NOT NULL,
  `progress` double NOT NULL,
  `frames_done` int unsigned NOT NULL,
  `assigned_at` datetime(6) NOT NULL,
  `started_at` datetime(6) DEFAULT NULL,
  `ended_at` datetime(6) DEFAULT NULL,
  `exit_code` int DEFAULT NULL,
  `cause` varchar(16) DEFAULT NULL,
  `message` text DEFAULT NULL,
  `done` text DEFAULT NULL,
  `reason` varchar(16) DEFAULT NULL,
  `culprit` int DEFAULT NULL,
  `copy_of` bigint unsigned DEFAULT NULL,
  `after` bigint unsigned DEFAULT NULL,
  `memory_bytes` bigint DEFAULT NULL,
  PRIMARY KEY (`attempt_id`),
  KEY `chunks_task_id` (`task_id`),
  KEY `chunks_state` (`state`),
  KEY `chunks_machine_id_state` (`machine_id`,`state`),
  KEY `chunks_task_id_state` (`task_id`,`state`),
  KEY `chunks_copy_of` (`copy_of`),
  CONSTRAINT `chunks_ibfk_1` FOREIGN KEY (`task_id`) REFERENCES `tasks` (`task_id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS `records` (
  `task_id` bigint unsigned NOT NULL,
  `machine_id` int unsigned NOT NULL,
  `frames` int unsigned NOT NULL,
  `render_s` double NOT NULL,
  `startup_s` double DEFAULT NULL,
  `is_warm` tinyint(1) NOT NULL,
  `failures` int unsigned NOT NULL,
  `not_before` datetime(6) DEFAULT NULL,
  `is_avoided` tinyint(1) NOT NULL,
  `memory_bytes` bigint DEFAULT NULL,
  `peak_bytes` bigint DEFAULT NULL,
  PRIMARY KEY (`task_id`,`machine_id`),
  CONSTRAINT `records_ibfk_1` FOREIGN KEY (`task_id`) REFERENCES `tasks` (`task_id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS `task_warnings` (
  `warning_id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `task_id` bigint unsigned NOT NULL,
  `text` varchar(500) NOT NULL,
  `created_at` datetime(6) NOT NULL,
  PRIMARY KEY (`warning_id`),
  KEY `task_warnings_task_id` (`task_id`),
  CONSTRAINT `task_warnings_ibfk_1` FOREIGN KEY (`task_id`) REFERENCES `tasks` (`task_id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS `contents` (
  `sha256` char(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `size_bytes` bigint NOT NULL,
  `mtime_ns` bigint NOT NULL,
  `stored_at` datetime(6) NOT NULL,
  `stored_by` int unsigned DEFAULT NULL,
  `wanted_until` datetime(6) DEFAULT NULL,
  PRIMARY KEY (`sha256`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS `manifests` (
  `sha256` char(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `main` text NOT NULL,
  `files` int unsigned NOT NULL,
  `size_bytes` bigint NOT NULL,
  `created_at` datetime(6) NOT NULL,
  PRIMARY KEY (`sha256`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS `manifest_files` (
  `manifest` char(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `sha256` char(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  PRIMARY KEY (`manifest`,`sha256`),
  KEY `manifest_files_sha256` (`sha256`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS `schema_version` (
  `version` int unsigned NOT NULL,
  PRIMARY KEY (`version`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
