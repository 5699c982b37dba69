-- What Snorky keeps in PostgreSQL: version 1. SCHEMA stands for the schema's quoted name.
--
-- Names, topics, keys and JSON are bytea: text may hold characters that PostgreSQL's text cannot.

CREATE TABLE SCHEMA.database (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    version int NOT NULL,
    identity text NOT NULL  -- of cluster, timeline and database: a restored or promoted one is another
);

-- Publications. Three tables in turn: the oldest is emptied as a whole, so there is nothing to
-- vacuum. A crash of the server empties them all, and begins another life.

CREATE UNLOGGED TABLE SCHEMA.publishing (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    life text NOT NULL,
    slice int NOT NULL,
    since timestamptz NOT NULL,
    dropped bigint NOT NULL  -- the largest id that was emptied away
);
CREATE UNLOGGED TABLE SCHEMA.publications_0 (id bigint PRIMARY KEY, topic bytea NOT NULL, text bytea NOT NULL)
    WITH (autovacuum_enabled = off);
CREATE UNLOGGED TABLE SCHEMA.publications_1 (id bigint PRIMARY KEY, topic bytea NOT NULL, text bytea NOT NULL)
    WITH (autovacuum_enabled = off);
CREATE UNLOGGED TABLE SCHEMA.publications_2 (id bigint PRIMARY KEY, topic bytea NOT NULL, text bytea NOT NULL)
    WITH (autovacuum_enabled = off);
CREATE VIEW SCHEMA.publications AS
    SELECT id, topic, text FROM SCHEMA.publications_0
    UNION ALL SELECT id, topic, text FROM SCHEMA.publications_1
    UNION ALL SELECT id, topic, text FROM SCHEMA.publications_2;

-- Logs. The newest entry of a log is never deleted: the next one is counted from it.

CREATE TABLE SCHEMA.logs (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name bytea NOT NULL UNIQUE,
    epoch text NOT NULL,
    seconds double precision NOT NULL,  -- that its entries are kept
    used timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE SCHEMA.entries (
    log int NOT NULL,
    seq bigint NOT NULL,
    nonce text NOT NULL,
    at double precision NOT NULL,
    total bigint NOT NULL,  -- bytes of all entries up to this one
    text bytea NOT NULL,
    PRIMARY KEY (log, seq)
);
CREATE TABLE SCHEMA.beside (
    log int NOT NULL,
    seq bigint NOT NULL,
    nonce text NOT NULL,
    at double precision NOT NULL,
    ends timestamptz NOT NULL,
    text bytea NOT NULL,
    PRIMARY KEY (log, seq)
);
CREATE TABLE SCHEMA.keys (
    log int NOT NULL,
    source bytea NOT NULL,
    number bigint NOT NULL,  -- counts the entries of its source
    key bytea,
    seq bigint NOT NULL,
    nonce text NOT NULL,
    PRIMARY KEY (log, source, number)
);
CREATE INDEX ON SCHEMA.keys (log, source, key, number) WHERE key IS NOT NULL;
CREATE TABLE SCHEMA.sources (
    log int NOT NULL,
    source bytea NOT NULL,
    fence bytea,
    place bytea,
    lease_seconds double precision NOT NULL DEFAULT 0,
    lease_ends timestamptz NOT NULL DEFAULT '-infinity',
    asked bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (log, source)
) WITH (fillfactor = 50);

-- What processes share by key, each for its time.

CREATE TABLE SCHEMA.kept (
    key bytea PRIMARY KEY,
    value bytea NOT NULL,
    ends timestamptz NOT NULL
) WITH (fillfactor = 70);

-- Readers that sleep hold this lock, shared. Whoever gets it for its transaction knows that nobody
-- sleeps; who comes to sleep meanwhile waits for that transaction, and looks again.
CREATE FUNCTION SCHEMA.wake(what text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('snorky sleepers'), 'SCHEMA'::regnamespace::oid::int) THEN
        PERFORM pg_notify('CHANNEL', what);
    END IF;
END $$;

CREATE FUNCTION SCHEMA.identity() RETURNS text LANGUAGE sql AS $$
    SELECT control.system_identifier || '.' || left(pg_walfile_name(pg_current_wal_lsn()), 8) || '.' || oid
    FROM pg_control_system() AS control, pg_database WHERE datname = current_database()
$$;

-- Answers the id of the last one.
CREATE FUNCTION SCHEMA.publish(topics bytea[], texts bytea[], slice_seconds double precision)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    state SCHEMA.publishing;
    newest bigint;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    -- One after the other, to the end of the transaction: ids become visible in their order.
    SELECT * INTO state FROM SCHEMA.publishing FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        INSERT INTO SCHEMA.publishing (life, slice, since, dropped)
        VALUES (gen_random_uuid()::text, 0, clock_timestamp(), 0) ON CONFLICT DO NOTHING;
        SELECT * INTO state FROM SCHEMA.publishing FOR NO KEY UPDATE;
    END IF;
    IF state.since < clock_timestamp() - make_interval(secs => slice_seconds) THEN
        state := SCHEMA.next_slice(state, slice_seconds);
    END IF;
    newest := greatest(
        state.dropped,
        (SELECT max(id) FROM SCHEMA.publications_0),
        (SELECT max(id) FROM SCHEMA.publications_1),
        (SELECT max(id) FROM SCHEMA.publications_2)
    );
    IF state.slice = 0 THEN
        INSERT INTO SCHEMA.publications_0
        SELECT newest + n, topic, text FROM unnest(topics, texts) WITH ORDINALITY AS new (topic, text, n);
    ELSIF state.slice = 1 THEN
        INSERT INTO SCHEMA.publications_1
        SELECT newest + n, topic, text FROM unnest(topics, texts) WITH ORDINALITY AS new (topic, text, n);
    ELSE
        INSERT INTO SCHEMA.publications_2
        SELECT newest + n, topic, text FROM unnest(topics, texts) WITH ORDINALITY AS new (topic, text, n);
    END IF;
    PERFORM SCHEMA.wake('p');
    RETURN newest + cardinality(topics);
END $$;

-- Empty the oldest slice and go on in it. Where somebody reads there, as pg_dump does, not now.
CREATE FUNCTION SCHEMA.next_slice(state SCHEMA.publishing, slice_seconds double precision)
RETURNS SCHEMA.publishing LANGUAGE plpgsql AS $$
DECLARE
    next int := (state.slice + 1) % 3;
    gone bigint;
BEGIN
    BEGIN
        EXECUTE format('LOCK TABLE SCHEMA.publications_%s IN ACCESS EXCLUSIVE MODE NOWAIT', next);
        EXECUTE format('SELECT max(id) FROM SCHEMA.publications_%s', next) INTO gone;
        IF gone IS NOT NULL THEN
            EXECUTE format('TRUNCATE SCHEMA.publications_%s', next);
        END IF;
        state.slice := next;
        state.dropped := greatest(state.dropped, gone);
        state.since := clock_timestamp();
    EXCEPTION WHEN lock_not_available THEN
        state.since := state.since + make_interval(secs => slice_seconds / 10);
    END;
    UPDATE SCHEMA.publishing SET slice = state.slice, dropped = state.dropped, since = state.since;
    RETURN state;
END $$;

CREATE FUNCTION SCHEMA.open_log(wanted bytea, keep_seconds double precision, OUT id int, OUT epoch text)
LANGUAGE sql AS $$
    INSERT INTO SCHEMA.logs (name, epoch, seconds)
    VALUES (wanted, left(replace(gen_random_uuid()::text, '-', ''), 16), keep_seconds)
    ON CONFLICT (name) DO UPDATE SET seconds = excluded.seconds, used = clock_timestamp()
    RETURNING logs.id, logs.epoch
$$;

-- Called now and then: ``followed`` are in use. Those that nobody has followed for so long that all
-- they kept is too old are removed; where sources were, or may still come back, after a month.
CREATE FUNCTION SCHEMA.sweep(followed int[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    gone int;
BEGIN
    UPDATE SCHEMA.logs SET used = clock_timestamp() WHERE id = ANY(followed);
    FOR gone IN
        DELETE FROM SCHEMA.logs WHERE used < clock_timestamp() - make_interval(secs => seconds)
            - CASE WHEN EXISTS (SELECT FROM SCHEMA.sources WHERE log = id) THEN interval '30 days'
                ELSE interval '10 minutes' END
            AND NOT EXISTS (SELECT FROM SCHEMA.beside WHERE log = id AND ends > clock_timestamp())
        RETURNING id
    LOOP
        DELETE FROM SCHEMA.entries WHERE log = gone;
        DELETE FROM SCHEMA.beside WHERE log = gone;
        DELETE FROM SCHEMA.keys WHERE log = gone;
        DELETE FROM SCHEMA.sources WHERE log = gone;
    END LOOP;
    DELETE FROM SCHEMA.beside WHERE ends < clock_timestamp();
    DELETE FROM SCHEMA.kept WHERE ends < clock_timestamp();
END $$;

-- Another life of a log: it is empty, and knows nothing of before.
CREATE FUNCTION SCHEMA.renew_log(of_log int, of_epoch text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE SCHEMA.logs SET epoch = left(replace(gen_random_uuid()::text, '-', ''), 16)
    WHERE id = of_log AND epoch = of_epoch;
    IF FOUND THEN
        DELETE FROM SCHEMA.entries WHERE log = of_log;
        DELETE FROM SCHEMA.beside WHERE log = of_log;
        DELETE FROM SCHEMA.keys WHERE log = of_log;
        DELETE FROM SCHEMA.sources WHERE log = of_log;
        PERFORM SCHEMA.wake('l' || of_log);
    END IF;
END $$;

-- Called by whoever connects: in a database that was restored or promoted all logs begin anew.
CREATE FUNCTION SCHEMA.recognise() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    mine text := SCHEMA.identity();
BEGIN
    PERFORM FROM SCHEMA.database WHERE identity = mine;
    IF FOUND THEN
        RETURN true;
    END IF;
    UPDATE SCHEMA.database SET identity = mine WHERE identity <> mine;
    IF FOUND THEN
        PERFORM SCHEMA.renew_log(id, epoch) FROM SCHEMA.logs;
    END IF;
    RETURN false;
END $$;

CREATE FUNCTION SCHEMA.append(
    of_log int, of_source bytea, its_fence bytea, its_keys bytea[], its_nonces text[], its_texts bytea[],
    now_at double precision, its_place bytea, sets_place boolean, keep double precision,
    most_beside int, most_keys int,
    OUT outcome text, OUT its_epoch text, OUT seqs bigint[], OUT nonces text[]
) LANGUAGE plpgsql AS $$
DECLARE
    of SCHEMA.sources;
    newest bigint;
    size bigint;
    counted bigint;
    oldest bigint;
    known SCHEMA.keys;
BEGIN
    outcome := 'appended';
    seqs := '{}';
    nonces := '{}';
    -- To the end of the transaction: entries become visible in their order, without a gap.
    SELECT epoch INTO its_epoch FROM SCHEMA.logs WHERE id = of_log FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        outcome := 'no log';
        RETURN;
    END IF;
    SELECT * INTO of FROM SCHEMA.sources WHERE log = of_log AND source = of_source;
    IF of.fence IS DISTINCT FROM its_fence THEN
        outcome := 'fence is old';
        RETURN;
    END IF;
    IF keep > 0 THEN
        DELETE FROM SCHEMA.beside WHERE log = of_log AND ends <= clock_timestamp();
        IF (SELECT count(*) FROM SCHEMA.beside WHERE log = of_log) >= most_beside THEN
            outcome := 'too many beside';
            RETURN;
        END IF;
    END IF;
    IF its_fence IS NOT NULL OR sets_place THEN
        INSERT INTO SCHEMA.sources AS known_source (log, source, place) VALUES (of_log, of_source, its_place)
        ON CONFLICT (log, source) DO UPDATE SET
            place = CASE WHEN sets_place THEN its_place ELSE known_source.place END,
            lease_ends = CASE WHEN its_fence IS NULL THEN known_source.lease_ends
                ELSE clock_timestamp() + make_interval(secs => known_source.lease_seconds) END;
    END IF;
    SELECT seq, total INTO newest, size FROM SCHEMA.entries WHERE log = of_log ORDER BY seq DESC LIMIT 1;
    newest := coalesce(newest, 0);
    size := coalesce(size, 0);
    SELECT number INTO counted FROM SCHEMA.keys WHERE log = of_log AND source = of_source
    ORDER BY number DESC LIMIT 1;
    counted := coalesce(counted, 0);
    oldest := counted;
    FOR n IN 1 .. cardinality(its_texts) LOOP
        IF its_keys[n] IS NOT NULL THEN
            SELECT * INTO known FROM SCHEMA.keys
            WHERE log = of_log AND source = of_source AND key = its_keys[n] AND number > counted - most_keys
            ORDER BY number DESC LIMIT 1;
            IF FOUND THEN
                seqs := seqs || known.seq;
                nonces := nonces || known.nonce;
                CONTINUE;
            END IF;
        END IF;
        newest := newest + 1;
        counted := counted + 1;
        size := size + octet_length(its_texts[n]);
        INSERT INTO SCHEMA.entries (log, seq, nonce, at, total, text)
        VALUES (of_log, newest, its_nonces[n], now_at, size, its_texts[n]);
        INSERT INTO SCHEMA.keys (log, source, number, key, seq, nonce)
        VALUES (of_log, of_source, counted, its_keys[n], newest, its_nonces[n]);
        IF keep > 0 THEN
            INSERT INTO SCHEMA.beside (log, seq, nonce, at, ends, text)
            VALUES (of_log, newest, its_nonces[n], now_at,
                    clock_timestamp() + make_interval(secs => keep), its_texts[n]);
        END IF;
        seqs := seqs || newest;
        nonces := nonces || its_nonces[n];
    END LOOP;
    IF oldest / 256 <> counted / 256 THEN
        DELETE FROM SCHEMA.keys
        WHERE log = of_log AND source = of_source AND number <= counted - most_keys;
    END IF;
    IF counted > oldest THEN
        PERFORM SCHEMA.wake('l' || of_log);
    END IF;
END $$;

CREATE FUNCTION SCHEMA.take_lease(
    of_log int, of_source bytea, new_fence bytea, seconds double precision, old_fence bytea,
    OUT taken boolean, OUT its_place bytea
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM SCHEMA.logs WHERE id = of_log FOR NO KEY UPDATE;
    INSERT INTO SCHEMA.sources AS known (log, source, fence, lease_seconds, lease_ends)
    VALUES (of_log, of_source, new_fence, seconds, clock_timestamp() + make_interval(secs => seconds))
    ON CONFLICT (log, source) DO UPDATE SET
        fence = excluded.fence, lease_seconds = excluded.lease_seconds, lease_ends = excluded.lease_ends
    WHERE known.lease_ends <= clock_timestamp() OR known.fence = old_fence
    RETURNING place INTO its_place;
    taken := FOUND;
END $$;

CREATE FUNCTION SCHEMA.ask(of_log int, of_source bytea) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    often bigint;
BEGIN
    INSERT INTO SCHEMA.sources AS known (log, source, asked) VALUES (of_log, of_source, 1)
    ON CONFLICT (log, source) DO UPDATE SET asked = known.asked + 1 RETURNING asked INTO often;
    PERFORM SCHEMA.wake('a');
    RETURN often;
END $$;
