-- For a hosted Supabase project: tell practices about every change of a person, signed (Standard Webhooks).
-- Supabase's own database webhooks carry no signature; this trigger adds one. Run as postgres in the project's SQL editor,
-- after storing two secrets in the project's vault: 'vantage_hook_url' (https://<gateway>/hooks/supabase/user-change) and
-- 'vantage_hook_secret' (whsec_<base64>, one of those in VANTAGE_HOOK_SECRETS).
-- Sent after the commit by pg_net, once, without a retry: `python -m services.practices reconcile` finds what got lost.

CREATE EXTENSION IF NOT EXISTS pg_net;
CREATE EXTENSION IF NOT EXISTS pgcrypto WITH SCHEMA extensions;
CREATE SCHEMA IF NOT EXISTS vantage;

CREATE OR REPLACE FUNCTION vantage.tell_user_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  hidden text[] := ARRAY['encrypted_password', 'confirmation_token', 'recovery_token', 'email_change_token_new',
                         'email_change_token_current', 'reauthentication_token', 'phone_change_token'];
  id text := 'msg_' || gen_random_uuid();
  sent_at text := floor(extract(epoch FROM clock_timestamp()))::bigint::text;
  body jsonb;
  url text;
  secret text;
  signature text;
BEGIN
  SELECT decrypted_secret INTO url FROM vault.decrypted_secrets WHERE name = 'vantage_hook_url';
  SELECT decrypted_secret INTO secret FROM vault.decrypted_secrets WHERE name = 'vantage_hook_secret';
  IF url IS NULL OR secret IS NULL THEN
    RETURN NULL;  -- a trigger that raises would stop people from signing up
  END IF;
  body := jsonb_build_object(
    'type', TG_OP, 'schema', TG_TABLE_SCHEMA, 'table', TG_TABLE_NAME,
    'record', CASE WHEN TG_OP = 'DELETE' THEN NULL ELSE to_jsonb(NEW) - hidden END,
    'old_record', CASE WHEN TG_OP = 'INSERT' THEN NULL ELSE to_jsonb(OLD) - hidden END
  );
  signature := encode(
    extensions.hmac(
      convert_to(id || '.' || sent_at || '.' || body::text, 'UTF8'), decode(replace(secret, 'whsec_', ''), 'base64'), 'sha256'
    ), 'base64'
  );
  PERFORM net.http_post(
    url := url, body := body,
    headers := jsonb_build_object(
      'content-type', 'application/json', 'webhook-id', id, 'webhook-timestamp', sent_at, 'webhook-signature', 'v1,' || signature
    ),
    timeout_milliseconds := 5000
  );
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  RAISE WARNING 'vantage: a change of a user was not told: %', SQLSTATE;
  RETURN NULL;
END
$$;

DROP TRIGGER IF EXISTS vantage_user_change ON auth.users;
CREATE TRIGGER vantage_user_change AFTER INSERT OR UPDATE OR DELETE ON auth.users
  FOR EACH ROW EXECUTE FUNCTION vantage.tell_user_change();
