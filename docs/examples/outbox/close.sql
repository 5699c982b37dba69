BEGIN;
UPDATE tickets SET closed = true WHERE team = 'red';
SELECT snorky_key();
COMMIT;
