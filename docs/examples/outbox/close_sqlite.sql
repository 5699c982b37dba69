BEGIN;
UPDATE tickets SET closed = 1 WHERE team = 'red';
INSERT INTO snorky_outbox (tx_key) VALUES (lower(hex(randomblob(12)))) RETURNING tx_key;
COMMIT;
