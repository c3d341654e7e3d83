-- Roles, schemas, extensions and the signed tenant context. Repeatable; run by a superuser, without passwords
-- (those are set afterwards from the secrets of the installation). Publication and slot: publication.sql,
-- after the migrations, because a publication needs its tables.

CREATE SCHEMA IF NOT EXISTS extensions;
CREATE EXTENSION IF NOT EXISTS pgcrypto WITH SCHEMA extensions;
CREATE EXTENSION IF NOT EXISTS btree_gist WITH SCHEMA extensions;
GRANT USAGE ON SCHEMA extensions TO PUBLIC;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

-- One schema, one owner role (migrations) and one application role (owns nothing) per service.
DO $$
DECLARE
  service text;
BEGIN
  FOREACH service IN ARRAY ARRAY['practices','patients','scheduling','workflows','notifications','audit'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = service || '_owner') THEN
      EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE', service || '_owner');
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = service || '_app') THEN
      EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE', service || '_app');
    END IF;
    EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION %I', service, service || '_owner');
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', service, service || '_app');
    EXECUTE format('ALTER ROLE %I SET search_path = %I, extensions', service || '_owner', service);
    EXECUTE format('ALTER ROLE %I SET search_path = %I, extensions', service || '_app', service);
    -- With the role, not with the connection: a pooler in transaction mode refuses settings at a connection's start.
    EXECUTE format('ALTER ROLE %I SET statement_timeout = %L', service || '_app', '30s');
    EXECUTE format('ALTER ROLE %I SET lock_timeout = %L', service || '_app', '10s');
    EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = %L', service || '_app', '60s');
    EXECUTE format('ALTER ROLE %I SET jit = off', service || '_app');
  END LOOP;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'debezium') THEN
    CREATE ROLE debezium LOGIN REPLICATION NOSUPERUSER NOBYPASSRLS;
  END IF;
  -- Supabase Auth keeps its own schema, in containers: its image makes the tables there.
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'supabase_auth_admin') THEN
    CREATE ROLE supabase_auth_admin LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
  END IF;
  CREATE SCHEMA IF NOT EXISTS auth AUTHORIZATION supabase_auth_admin;
  ALTER ROLE supabase_auth_admin SET search_path = auth;
  -- Compares outboxes with the ledger: may read which messages exist, never what they say.
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'auditor') THEN
    CREATE ROLE auditor LOGIN NOSUPERUSER NOBYPASSRLS;
  END IF;
END
$$;

-- The tenant context of a transaction: 'expiry|practice,practice,…|hmac'. A role that can run SQL but does not
-- know the key cannot name another practice: the function refuses what is not signed.
CREATE SCHEMA IF NOT EXISTS tenancy;
CREATE TABLE IF NOT EXISTS tenancy.key (single boolean PRIMARY KEY DEFAULT true CHECK (single), secret bytea NOT NULL);
REVOKE ALL ON tenancy.key FROM PUBLIC;
CREATE OR REPLACE FUNCTION tenancy.practices() RETURNS uuid[]
LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED SET search_path = pg_catalog AS $$
DECLARE
  context text := nullif(current_setting('vantage.context', true), '');
  parts text[];
BEGIN
  IF context IS NULL THEN
    RETURN NULL;
  END IF;
  parts := string_to_array(context, '|');
  IF encode(extensions.hmac(convert_to(parts[1] || '|' || parts[2], 'UTF8'), (SELECT secret FROM tenancy.key), 'sha256'), 'hex')
     IS DISTINCT FROM parts[3] THEN
    RAISE EXCEPTION 'tenant context is not signed' USING ERRCODE = '42501';
  END IF;
  IF to_timestamp(parts[1]::bigint) < clock_timestamp() THEN
    RAISE EXCEPTION 'tenant context has expired' USING ERRCODE = '42501';
  END IF;
  RETURN string_to_array(parts[2], ',')::uuid[];
END
$$;
REVOKE ALL ON FUNCTION tenancy.practices() FROM PUBLIC;
GRANT USAGE ON SCHEMA tenancy TO PUBLIC;
GRANT EXECUTE ON FUNCTION tenancy.practices() TO PUBLIC;

-- Debezium's heartbeat: without an insert into the publication an idle outbox would hold the WAL back for ever.
CREATE SCHEMA IF NOT EXISTS cdc;
CREATE TABLE IF NOT EXISTS cdc.heartbeat (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  ts timestamptz NOT NULL DEFAULT now()
);
GRANT USAGE ON SCHEMA cdc TO debezium;
GRANT SELECT, INSERT, DELETE ON cdc.heartbeat TO debezium;
