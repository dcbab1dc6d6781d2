"""What a PostgreSQL ledger keeps in its database: tables, and the functions that alone touch them.

Invariants:

- one call of a ledger is one call of one function: one round trip, and one transaction;
- every name in a function is qualified and its search path is fixed, so whatever else is in the
  database, it finds what was meant;
- the functions have the rights of the schema's owner: a role that may only call them, and not `purge`,
  can lower no counter and take back no revocation, whatever it passes;
- rows are locked in one order (a proof, then counters by their key; the feed before its revocations),
  and what is to be removed is never waited for. So no two calls wait for one another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, LiteralString

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FUNCTIONS", "MIGRATIONS", "TRUSTED"]

_TABLES: Final = """
CREATE TABLE {schema}.feed (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    store text NOT NULL DEFAULT pg_catalog.gen_random_uuid()::text,
    number bigint NOT NULL DEFAULT 0
);
CREATE TABLE {schema}.revocations (
    subject text COLLATE pg_catalog."C" PRIMARY KEY,
    number bigint NOT NULL UNIQUE,
    revoked_at double precision NOT NULL,
    expires_at bigint NOT NULL,
    issued_until double precision,
    reason text
);
CREATE INDEX revocations_by_expiry ON {schema}.revocations (expires_at);
CREATE TABLE {schema}.counters (
    counter bytea PRIMARY KEY,
    total bigint NOT NULL,
    latest double precision NOT NULL,
    expires_at bigint NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX counters_by_expiry ON {schema}.counters (expires_at);
CREATE TABLE {schema}.uses (
    counter bytea,
    slot integer,
    used_at double precision NOT NULL,
    PRIMARY KEY (counter, slot)
) WITH (fillfactor = 70);
CREATE TABLE {schema}.proofs (
    proof bytea PRIMARY KEY,
    expires_at bigint NOT NULL
);
CREATE INDEX proofs_by_expiry ON {schema}.proofs (expires_at);
CREATE TABLE {schema}.forgotten (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    until bigint NOT NULL DEFAULT 0
);
CREATE TABLE {schema}.tokens (
    token_id text COLLATE pg_catalog."C" PRIMARY KEY,
    agent text NOT NULL,
    issuer text NOT NULL,
    holder text NOT NULL,
    issued_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    capabilities text[] NOT NULL,
    session text,
    task text,
    revoked_with text[] NOT NULL
);
CREATE INDEX tokens_by_expiry ON {schema}.tokens (expires_at, token_id);
INSERT INTO {schema}.feed DEFAULT VALUES;
INSERT INTO {schema}.forgotten DEFAULT VALUES;
"""

_REVOKE: Final = """
-- Take a list of revocations, each of another subject; for each, whether it is news. What is kept is
-- what `Revocation.after` says.
CREATE FUNCTION {schema}.revoke(entries json) RETURNS boolean[] {trusted} AS $$
DECLARE
    start bigint;
    changed bigint;
    news boolean[];
BEGIN
    -- Whoever holds this row is the only one who numbers changes, until it has committed them.
    SELECT f.number INTO start FROM {schema}.feed f FOR UPDATE;
    WITH judged AS (
        SELECT g.*, k.subject IS NULL AS is_new, coalesce(g.revoked_at > k.issued_until, false) AS is_later,
            k.revoked_at AS known_at, k.expires_at AS known_expiry, k.issued_until AS known_until,
            k.reason AS known_reason
        FROM ROWS FROM (
            json_to_recordset(entries) AS (
                subject text, revoked_at double precision, expires_at bigint,
                issued_until double precision, reason text)
        ) WITH ORDINALITY AS g (subject, revoked_at, expires_at, issued_until, reason, place)
        LEFT JOIN {schema}.revocations k ON k.subject = g.subject
    ), kept AS (
        SELECT j.*, j.is_new OR j.is_later AS is_news,
            CASE WHEN j.is_new OR j.is_later THEN j.revoked_at ELSE j.known_at END AS kept_at,
            CASE WHEN j.is_new OR j.is_later THEN j.reason ELSE j.known_reason END AS kept_reason,
            greatest(j.expires_at, j.known_expiry) AS kept_expiry,
            CASE WHEN j.is_new THEN j.issued_until
                WHEN j.known_until IS NULL THEN NULL
                ELSE greatest(j.issued_until, j.known_until) END AS kept_until
        FROM judged j
    ), written AS (
        INSERT INTO {schema}.revocations AS r (subject, number, revoked_at, expires_at, issued_until, reason)
        SELECT k.subject, start + row_number() OVER (ORDER BY k.place),
            k.kept_at, k.kept_expiry, k.kept_until, k.kept_reason
        FROM kept k
        WHERE k.is_new OR (k.kept_at, k.kept_expiry, k.kept_until, k.kept_reason)
            IS DISTINCT FROM (k.known_at, k.known_expiry, k.known_until, k.known_reason)
        ORDER BY k.place
        ON CONFLICT (subject) DO UPDATE SET number = excluded.number, revoked_at = excluded.revoked_at,
            expires_at = excluded.expires_at, issued_until = excluded.issued_until, reason = excluded.reason
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM written), array_agg(k.is_news ORDER BY k.place) INTO changed, news
    FROM kept k;
    IF changed > 0 THEN
        UPDATE {schema}.feed SET number = start + changed;
        PERFORM pg_notify({channel}, '');
    END IF;
    RETURN coalesce(news, ARRAY[]::boolean[]);
END $$;
"""

_FEED: Final = """
-- The name of the store and the number of the newest change. The name is another after the server was
-- started anew or another server took its place, which may not have the last of the changes.
CREATE FUNCTION {schema}.position(OUT store text, OUT number bigint) {trusted} STABLE AS $$
BEGIN
    SELECT f.store || '@' || (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint, f.number
    INTO store, number FROM {schema}.feed f;
END $$;

-- The oldest changes after a number, and a last row with the position. It is stable, so all of it is
-- as of one moment.
CREATE FUNCTION {schema}.changes(since bigint, most integer)
RETURNS TABLE (number bigint, subject text, expires_at bigint, issued_until double precision)
{trusted} SET work_mem = '64MB' STABLE AS $$
BEGIN
    RETURN QUERY SELECT r.number, r.subject, r.expires_at, r.issued_until FROM {schema}.revocations r
        WHERE r.number > since ORDER BY r.number LIMIT most;
    RETURN QUERY SELECT p.number, p.store, NULL::bigint, NULL::double precision FROM {schema}.position() p;
END $$;

-- The newest revocations below a number.
CREATE FUNCTION {schema}.revocations(below bigint, most bigint)
RETURNS TABLE (number bigint, subject text, revoked_at double precision, expires_at bigint,
    issued_until double precision, reason text)
{trusted} STABLE AS $$
BEGIN
    RETURN QUERY SELECT r.number, r.subject, r.revoked_at, r.expires_at, r.issued_until, r.reason
        FROM {schema}.revocations r WHERE r.number < below ORDER BY r.number DESC LIMIT most;
END $$;
"""

_CHARGE: Final = """
-- Charge counters, sorted by their key, and remember a proof. 0: done; -1: the proof was seen before;
-- else the place of the first charge for which there is no room.
CREATE FUNCTION {schema}.charge(
    places integer[], counters bytea[], amounts bigint[], ceilings bigint[], windows integer[],
    expiries bigint[], proof_key bytea, proof_expiry bigint, moment double precision
) RETURNS integer {trusted} AS $$
DECLARE
    refused integer;
    counted bigint;
    stamp double precision;
BEGIN
    IF 0 > ANY (amounts) THEN  -- nothing is ever given back
        RAISE numeric_value_out_of_range USING MESSAGE = 'a charge is negative';
    END IF;
    BEGIN  -- what is done in this block is undone when anything of it is refused
        IF proof_key IS NOT NULL THEN
            INSERT INTO {schema}.proofs (proof, expires_at) VALUES (proof_key, proof_expiry)
            ON CONFLICT DO NOTHING;
            -- Asked once it is written: whoever forgot the same proof before has said so by now.
            IF NOT FOUND OR (SELECT f.until FROM {schema}.forgotten f) >= proof_expiry THEN
                refused := -1;
                RAISE SQLSTATE 'RM001';
            END IF;
        END IF;
        FOR i IN 1 .. cardinality(counters) LOOP
            INSERT INTO {schema}.counters AS c (counter, total, latest, expires_at)
            VALUES (counters[i], amounts[i], moment, expiries[i])
            ON CONFLICT (counter) DO UPDATE
            SET total = c.total + excluded.total, latest = greatest(c.latest, excluded.latest),
                expires_at = greatest(c.expires_at, excluded.expires_at)
            RETURNING c.total, c.latest INTO counted, stamp;
            IF windows[i] IS NULL THEN
                CONTINUE WHEN counted <= ceilings[i];
            ELSE
                -- A ring: a use takes the place of the one that came `ceiling` uses before it.
                INSERT INTO {schema}.uses AS u (counter, slot, used_at)
                VALUES (counters[i], (counted - 1) % ceilings[i], stamp)
                ON CONFLICT (counter, slot) DO UPDATE SET used_at = excluded.used_at
                WHERE u.used_at <= moment - windows[i];
                CONTINUE WHEN FOUND;
            END IF;
            refused := least(refused, places[i]);
        END LOOP;
        IF refused IS NOT NULL THEN
            RAISE SQLSTATE 'RM001';
        END IF;
    EXCEPTION WHEN SQLSTATE 'RM001' THEN
        RETURN refused;
    END;
    IF proof_key IS NOT NULL THEN
        PERFORM {schema}.forget(floor(moment)::bigint, 100);
    END IF;
    RETURN 0;
END $$;

-- What `charge` would say of the counters. 0: there is room; else the place of the first without.
CREATE FUNCTION {schema}.probe(
    places integer[], counters bytea[], amounts bigint[], ceilings bigint[], windows integer[],
    moment double precision
) RETURNS integer {trusted} STABLE AS $$
DECLARE
    refused integer;
    counted bigint;
    pending bigint := 0;  -- what this call has charged to the same counter before
BEGIN
    FOR i IN 1 .. cardinality(counters) LOOP
        IF i > 1 AND counters[i] = counters[i - 1] THEN
            pending := pending + amounts[i - 1];
        ELSE
            pending := 0;
        END IF;
        counted := pending + coalesce(
            (SELECT c.total FROM {schema}.counters c WHERE c.counter = counters[i]), 0);
        IF windows[i] IS NULL THEN
            CONTINUE WHEN counted + amounts[i] <= ceilings[i];
        ELSE
            CONTINUE WHEN counted < ceilings[i];
            CONTINUE WHEN pending < ceilings[i] AND EXISTS (
                SELECT FROM {schema}.uses u WHERE u.counter = counters[i]
                AND u.slot = (counted % ceilings[i])::integer AND u.used_at <= moment - windows[i]);
        END IF;
        refused := least(refused, places[i]);
    END LOOP;
    RETURN coalesce(refused, 0);
END $$;
"""

_FORGET: Final = """
-- Forget proofs that have expired, the oldest first, and up to when that was. One caller at a time does.
CREATE FUNCTION {schema}.forget(moment bigint, most integer) RETURNS integer {trusted} AS $$
DECLARE
    removed integer;
    newest bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM {schema}.proofs p WHERE p.expires_at <= moment) THEN
        RETURN 0;
    END IF;
    PERFORM FROM {schema}.forgotten FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    WITH gone AS (
        DELETE FROM {schema}.proofs p WHERE p.proof = ANY (ARRAY(
            SELECT e.proof FROM {schema}.proofs e WHERE e.expires_at <= moment
            ORDER BY e.expires_at LIMIT most FOR UPDATE SKIP LOCKED))
        RETURNING p.expires_at
    ) SELECT count(*), max(g.expires_at) INTO removed, newest FROM gone g;
    UPDATE {schema}.forgotten SET until = greatest(until, newest);
    RETURN removed;
END $$;

-- Remove some of what has expired; how many entries that were, and whether there may be more.
CREATE FUNCTION {schema}.purge(
    expired bigint, moment bigint, most integer, OUT removed integer, OUT more boolean
) {trusted} AS $$
DECLARE
    gone integer;
    spent bytea[];
BEGIN
    removed := 0;
    more := false;
    IF EXISTS (SELECT FROM {schema}.revocations r WHERE r.expires_at <= expired) THEN
        PERFORM FROM {schema}.feed FOR UPDATE;  -- nobody revokes the same in the meantime
        DELETE FROM {schema}.revocations r WHERE r.subject = ANY (ARRAY(
            SELECT e.subject FROM {schema}.revocations e WHERE e.expires_at <= expired
            ORDER BY e.expires_at LIMIT most));
        GET DIAGNOSTICS gone = ROW_COUNT;
        removed := removed + gone;
        more := more OR gone = most;
    END IF;
    spent := ARRAY(SELECT c.counter FROM {schema}.counters c WHERE c.expires_at <= expired
        ORDER BY c.expires_at LIMIT most FOR UPDATE SKIP LOCKED);
    DELETE FROM {schema}.uses u WHERE u.ctid = ANY (ARRAY(
        SELECT e.ctid FROM {schema}.uses e WHERE e.counter = ANY (spent) LIMIT most));
    GET DIAGNOSTICS gone = ROW_COUNT;
    IF gone = most THEN  -- their counters go when there are no more of them
        more := true;
    ELSE
        DELETE FROM {schema}.counters c WHERE c.counter = ANY (spent);
        GET DIAGNOSTICS gone = ROW_COUNT;
        removed := removed + gone;
        more := more OR gone = most;
    END IF;
    DELETE FROM {schema}.tokens t WHERE t.token_id = ANY (ARRAY(
        SELECT e.token_id FROM {schema}.tokens e WHERE e.expires_at <= expired
        ORDER BY e.expires_at LIMIT most FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS gone = ROW_COUNT;
    removed := removed + gone;
    more := more OR gone = most;
    gone := {schema}.forget(moment, most);
    removed := removed + gone;
    more := more OR gone = most;
END $$;
"""

_TOKENS: Final = """
CREATE FUNCTION {schema}.enroll(entry json) RETURNS void {trusted} AS $$
BEGIN
    INSERT INTO {schema}.tokens AS t
        (token_id, agent, issuer, holder, issued_at, expires_at, capabilities, session, task, revoked_with)
    SELECT e.token_id, e.agent, e.issuer, e.holder, e.issued_at, e.expires_at,
        e.capabilities, e.session, e.task, e.revoked_with
    FROM json_to_record(entry) AS e (token_id text, agent text, issuer text, holder text,
        issued_at bigint, expires_at bigint, capabilities text[], session text, task text,
        revoked_with text[])
    ON CONFLICT (token_id) DO UPDATE SET agent = excluded.agent, issuer = excluded.issuer,
        holder = excluded.holder, issued_at = excluded.issued_at, expires_at = excluded.expires_at,
        capabilities = excluded.capabilities, session = excluded.session, task = excluded.task,
        revoked_with = excluded.revoked_with;
END $$;

CREATE FUNCTION {schema}.token(name text) RETURNS SETOF {schema}.tokens {trusted} STABLE AS $$
BEGIN
    RETURN QUERY SELECT t.* FROM {schema}.tokens t WHERE t.token_id = name;
END $$;

-- Tokens that live, those that live longest first, from below one of them on.
CREATE FUNCTION {schema}.tokens(moment bigint, most bigint, before_expiry bigint, before_id text)
RETURNS SETOF {schema}.tokens {trusted} STABLE AS $$
BEGIN
    RETURN QUERY SELECT t.* FROM {schema}.tokens t WHERE t.expires_at > moment
        AND (t.expires_at, t.token_id) < (before_expiry, before_id)
        ORDER BY t.expires_at DESC, t.token_id DESC LIMIT most;
END $$;
"""

MIGRATIONS: Final[tuple[LiteralString, ...]] = (_TABLES + _FORGET + _FEED + _REVOKE + _CHARGE + _TOKENS,)
"""What makes the schema of each version out of the one before, the first out of an empty one."""

TRUSTED: Final = (
    "LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s'"
    " SET enable_seqscan = off SET jit = off"
)
"""What every function is: it has the owner's rights, a path on which nobody can put anything, does not wait
for a lock for ever, also when whoever called has long gone, and looks things up by their indexes, also by a
plan that was made when there was next to nothing."""

FUNCTIONS: Final[Mapping[LiteralString, LiteralString]] = {
    "position": "",
    "changes": "bigint, integer",
    "revocations": "bigint, bigint",
    "revoke": "pg_catalog.json",
    "charge": "integer[], pg_catalog.bytea[], bigint[], bigint[], integer[], bigint[],"
    " pg_catalog.bytea, bigint, double precision",
    "probe": "integer[], pg_catalog.bytea[], bigint[], bigint[], integer[], double precision",
    "purge": "bigint, bigint, integer",
    "enroll": "pg_catalog.json",
    "token": "pg_catalog.text",
    "tokens": "bigint, bigint, bigint, pg_catalog.text",
}
"""The functions that a ledger calls, and the types of what they take."""
