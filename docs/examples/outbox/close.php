<?php
$database = new PDO('pgsql:host=127.0.0.1;dbname=app', 'app', getenv('DATABASE_PASSWORD'));
$database->beginTransaction();
$database->prepare('UPDATE tickets SET closed = true WHERE team = ?')->execute([$_POST['team']]);
$key = $database->query('SELECT snorky_key()')->fetchColumn();
$database->commit();
header("X-Snorky-Keys: $key");
http_response_code(204);
