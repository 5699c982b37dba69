CREATE ROLE snorky_relay LOGIN PASSWORD 'password';
GRANT SELECT, DELETE ON snorky_outbox, snorky_outbox_sizes TO snorky_relay;
GRANT SELECT ON snorky_outbox_state TO snorky_relay;
GRANT SELECT, UPDATE ON SEQUENCE snorky_outbox_asleep, snorky_outbox_full TO snorky_relay;
GRANT SELECT ON SEQUENCE snorky_outbox_id_seq TO snorky_relay;
