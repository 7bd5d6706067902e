-- Rows of a live database of the original: what its README seeds, and five tasks with their history.
-- tests/support/original_database.py puts the test's own folder in the place of /srv/renderonline.

INSERT INTO `subscriptions` (`subscription_id`, `name`, `queue_limit`) VALUES
  (1, 'Default', 3),
  (2, 'Studio', 250);

-- Tokens verbatim, as the original compares them; two differ only in their case, one user has none.
INSERT INTO `users`
  (`user_id`, `first_name`, `last_name`, `email`, `subscription_id`, `is_active`, `token`, `userscol`)
VALUES
  (1, 'Test', 'User', 'user@example.com', 1, 1, 'my-secret-token', NULL),
  (2, 'Zoë', 'Müller', 'zoe@example.com', 2, 1, 'MY-SECRET-TOKEN', NULL),
  (3, 'Gone', 'Away', 'gone@example.com', 1, 0, 'token-of-an-inactive-user', NULL),
  (4, 'No', 'Token', 'empty@example.com', 1, 1, '', NULL);

INSERT INTO `engines` (`engine_id`, `name`, `extension`, `download_path`, `render_argument`) VALUES
  (1, 'blender', '.blend', '/srv/renderonline/downloads',
   'blender -b $RENDERONLINE:@uploaded_file -s $RENDERONLINE:start_frame -e $RENDERONLINE:end_frame -a');

INSERT INTO `argtypes` (`argtype_id`, `type`, `regex`) VALUES
  ('start_frame', 'natural', NULL),
  ('end_frame', 'natural', NULL),
  ('output_format', 'extension', NULL);

INSERT INTO `machines` (`machine_id`, `ip_address`, `port`) VALUES
  (1, '127.0.0.1', 5001),
  (2, '127.0.0.1', 5002);

-- Folders: <download_path>/<user_id>/<.NET ticks of the queue time>/<file name>.
INSERT INTO `renders`
  (`render_id`, `file_name`, `file_path`, `file_size`, `arguments`, `engine_id`)
VALUES
  (5, 'done.blend', '/srv/renderonline/downloads/1/638603856001234567/done.blend', 1024,
   'blender -b /srv/renderonline/downloads/1/638603856001234567/done.blend -s 1 -e 3 -a', 1),
  (6, 'broken.blend', '/srv/renderonline/downloads/1/638603892002345678/broken.blend', 2048,
   'blender -b /srv/renderonline/downloads/1/638603892002345678/broken.blend -s 1 -e 3 -a', 1),
  (7, 'waiting.blend', '/srv/renderonline/downloads/2/638603928003456789/waiting.blend', 4096,
   'blender -b /srv/renderonline/downloads/2/638603928003456789/waiting.blend -s 1 -e 3 -a', 1),
  (8, 'busy.blend', '/srv/renderonline/downloads/2/638603964004567890/busy.blend', 8192,
   'blender -b /srv/renderonline/downloads/2/638603964004567890/busy.blend -s 1 -e 3 -a', 1),
  (9, 'dequeued.blend', '/srv/renderonline/downloads/1/638604000005678901/dequeued.blend', 16384,
   'blender -b /srv/renderonline/downloads/1/638604000005678901/dequeued.blend -s 1 -e 3 -a', 1);

-- In this order: finished; failed (its start_time overwritten by the time of its failure); queued;
-- running on machine 1; dequeued while it ran, which left it is_running without an end_time.
INSERT INTO `tasks`
  (`task_id`, `user_id`, `queue_time`, `start_time`, `end_time`, `is_running`, `is_success`,
   `render_id`, `machine_id`)
VALUES
  (120, 1, '2024-08-27 20:00:00', '2024-08-27 20:01:00', '2024-08-27 20:05:00', 0, 1, 5, 1),
  (121, 1, '2024-08-27 21:00:00', '2024-08-27 21:03:30', '2024-08-27 21:03:30', 0, 0, 6, 2),
  (122, 2, '2024-08-27 22:00:00', NULL, NULL, 0, 0, 7, NULL),
  (123, 2, '2024-08-27 23:00:00', '2024-08-27 23:00:15', NULL, 1, 0, 8, 1),
  (124, 1, '2024-08-28 00:00:00', '2024-08-28 00:00:15', NULL, 1, 0, 9, 2);

INSERT INTO `queue` (`queue_id`, `task_id`) VALUES
  (61, 122),
  (62, 123);
