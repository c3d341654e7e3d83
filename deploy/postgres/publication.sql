-- After the migrations, before the first write: what Debezium reads. Inserts only; the outbox is never changed.
-- The slot is made next to it (deploy/native/database.py, compose's migrate step): not in a transaction that wrote.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_publication WHERE pubname = 'outbox_pub') THEN
    CREATE PUBLICATION outbox_pub FOR TABLE
      practices.outbox, patients.outbox, scheduling.outbox, workflows.outbox, notifications.outbox, audit.outbox, cdc.heartbeat
      WITH (publish = 'insert');
  END IF;
END
$$;
