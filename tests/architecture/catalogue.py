"""What Postgres' own catalogue says about tenancy: every way a table, view, function or role could leak between practices.

Each check is a query that returns the offenders; an empty house of findings is the proof.
"""

from __future__ import annotations

from typing import Any

import psycopg

from libs.contracts.topics import SERVICES

POLICY = "(practice_id = ANY (( SELECT tenancy.practices() AS practices)::uuid[]))"
"""The one rule of every tenant table, as ``pg_get_expr`` prints it."""

INDEX_EXCEPTIONS = {
    "outbox_pkey": "the order in which Debezium reads, across practices",
    "outbox_id_key": "a message id is unique in the house; the ids are random and nobody looks rows up by them",
    "log_origin_key": "a ledger's name is unique in the house, as checkpoints that leave it are known by it alone",
}
"""Indexes of tenant tables that do not lead with practice_id, and why."""

AUDITED = {
    "outbox": {"id", "practice_id", "seq", "time", "topic"},
    "entry": {"practice_id", "seq", "event_id"},
}
"""What the role ``auditor`` reads across practices to compare outboxes with the ledger: which messages exist, not what they say."""

STANDARD = ("*", True, "PUBLIC", POLICY, POLICY)
FOR_AUDITOR = ("r", True, "auditor", "true", None)

Connection = psycopg.Connection[tuple[Any, ...]]

_TABLES = """
SELECT n.nspname, c.relname, coalesce(obj_description(c.oid, 'pg_class'), '') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY (%s) AND c.relkind IN ('r', 'p') AND c.relname <> 'schema_version' ORDER BY 1, 2
"""
_COLUMN = """
SELECT format_type(atttypid, NULL), attnotnull FROM pg_attribute
WHERE attrelid = %s::regclass AND attname = 'practice_id' AND NOT attisdropped
"""
_SECURITY = "SELECT relrowsecurity, relforcerowsecurity, pg_get_userbyid(relowner) FROM pg_class WHERE oid = %s::regclass"
_POLICIES = """
SELECT polcmd::text, polpermissive,
       (SELECT string_agg(coalesce(r.rolname, 'PUBLIC'), ',') FROM unnest(polroles) AS role LEFT JOIN pg_roles r ON r.oid = role),
       pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)
FROM pg_policy WHERE polrelid = %s::regclass ORDER BY 1
"""
_INDEXES = """
SELECT i.indexrelid::regclass::text, coalesce(a.attname, '(expression)') FROM pg_index i
LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] WHERE i.indrelid = %s::regclass
"""
_FOREIGN_KEYS = """
SELECT c.conname,
       (SELECT attname FROM pg_attribute WHERE attrelid = c.conrelid AND attnum = c.conkey[1]),
       (SELECT attname FROM pg_attribute WHERE attrelid = c.confrelid AND attnum = c.confkey[1])
FROM pg_constraint c WHERE c.contype = 'f' AND c.conrelid = %s::regclass
"""
_PRIVILEGES = """
SELECT privilege FROM unnest(ARRAY['TRUNCATE', 'REFERENCES', 'TRIGGER']) privilege WHERE has_table_privilege(%s, %s::regclass, privilege)
"""
_MAY_BECOME = """
SELECT pg_has_role(%s, %s, 'MEMBER'), has_schema_privilege(%s, %s, 'CREATE'), has_database_privilege(%s, current_database(), 'CREATE')
"""
_MAY_FORGE = """
SELECT has_table_privilege(%s, 'tenancy.key', 'SELECT, INSERT, UPDATE, DELETE'), has_schema_privilege(%s, 'tenancy', 'CREATE')
"""


def problems(connection: Connection) -> list[str]:
    """Everything that is wrong, one line each."""
    found: list[str] = []
    tables = connection.execute(_TABLES, [list(SERVICES)]).fetchall()
    for schema, table, comment in tables:
        name = f"{schema}.{table}"
        found += [f"{name}: {text}" for text in _app_rights(connection, schema, name)]
        if comment.startswith("global:"):
            if len(comment.removeprefix("global:").strip()) < 10:
                found.append(f"{name}: is global without a reason")
        else:
            found += [f"{name}: {text}" for text in _tenant_table(connection, name)]
    return found + _roles(connection) + _strangers(connection) + _functions(connection) + _views(connection) + _platform(connection)


def tenant_tables(connection: Connection) -> list[str]:
    rows = connection.execute(_TABLES, [list(SERVICES)]).fetchall()
    return [f"{schema}.{table}" for schema, table, comment in rows if not comment.startswith("global:")]


def _tenant_table(connection: Connection, name: str) -> list[str]:
    column = connection.execute(_COLUMN, [name]).fetchone()
    if column is None:
        return ["has no practice_id and is not declared global"]
    found = [] if column == ("uuid", True) else ["practice_id is not uuid NOT NULL"]
    enabled, forced, _ = connection.execute(_SECURITY, [name]).fetchone() or (False, False, "")
    found += [] if enabled else ["row security is not enabled"]
    found += [] if forced else ["row security is not forced"]
    policies = connection.execute(_POLICIES, [name]).fetchall()
    wanted = [STANDARD, FOR_AUDITOR] if name.rpartition(".")[2] in AUDITED else [STANDARD]
    found += [] if policies == wanted else ["its policies are not exactly the standard one"]
    for index, leading in connection.execute(_INDEXES, [name]).fetchall():
        short = index.rpartition(".")[2]
        if leading != "practice_id" and short not in INDEX_EXCEPTIONS:
            found.append(f"index {short} leads with {leading}, not practice_id")
    for key, here, there in connection.execute(_FOREIGN_KEYS, [name]).fetchall():
        if (here, there) != ("practice_id", "practice_id"):
            found.append(f"foreign key {key} does not lead with practice_id on both sides; row security does not guard it")
    return found


def _app_rights(connection: Connection, schema: str, name: str) -> list[str]:
    app = f"{schema}_app"
    _, _, owner = connection.execute(_SECURITY, [name]).fetchone() or (False, False, "")
    found = [] if owner == f"{schema}_owner" else [f"belongs to {owner}"]
    return found + [f"{app} may {right}" for (right,) in connection.execute(_PRIVILEGES, [app, name]).fetchall()]


def _roles(connection: Connection) -> list[str]:
    rows = connection.execute(
        "SELECT rolname FROM pg_roles WHERE rolname = ANY (%s) AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb)",
        [[f"{service}_{kind}" for service in SERVICES for kind in ("owner", "app")] + ["debezium", "auditor"]],
    ).fetchall()
    found = [f"role {name} has more rights than it needs" for (name,) in rows]
    for service in SERVICES:
        app = f"{service}_app"
        member, creates, databases = connection.execute(_MAY_BECOME, [app, f"{service}_owner", app, service, app]).fetchone() or (True,) * 3
        found += [f"role {app} may act as the owner"] if member else []
        found += [f"role {app} may create objects"] if creates or databases else []
    return found


def _strangers(connection: Connection) -> list[str]:
    """No application role enters another service's schema; Debezium reads outboxes and its heartbeat, nothing else."""
    pairs = [(f"{one}_app", other) for one in SERVICES for other in SERVICES if one != other]
    found = [
        f"role {role} may use schema {schema}"
        for role, schema in pairs
        if connection.execute("SELECT has_schema_privilege(%s, %s, 'USAGE')", [role, schema]).fetchone() != (False,)
    ]
    rights = """
    SELECT grantee, table_schema || '.' || table_name, privilege_type FROM information_schema.role_table_grants
    WHERE table_schema = ANY (%s) AND grantee <> table_schema || '_owner' AND grantee <> table_schema || '_app'
      AND NOT (grantee = 'debezium' AND table_name = 'outbox' AND privilege_type = 'SELECT')
    """
    rows = connection.execute(rights, [list(SERVICES)]).fetchall()
    return found + [f"{table}: {grantee} may {right}" for grantee, table, right in rows] + _auditor(connection)


def _auditor(connection: Connection) -> list[str]:
    query = """
    SELECT table_schema, table_name, column_name, privilege_type FROM information_schema.column_privileges
    WHERE table_schema = ANY (%s) AND grantee = 'auditor'
    """
    rows = connection.execute(query, [[*SERVICES, "tenancy", "cdc"]]).fetchall()
    return [
        f"{schema}.{table}: auditor may {right} {column}"
        for schema, table, column, right in rows
        if right != "SELECT" or column not in AUDITED.get(table, set())
    ]


def _functions(connection: Connection) -> list[str]:
    query = """
    SELECT p.oid::regprocedure::text, p.prosecdef, coalesce(array_to_string(p.proconfig, ','), '') FROM pg_proc p
    JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = ANY (%s)
    """
    rows = connection.execute(query, [[*SERVICES, "tenancy", "cdc", "public"]]).fetchall()
    found = [
        f"function {name}: SECURITY DEFINER without a pinned search_path"
        for name, definer, config in rows
        if definer and "search_path=" not in config
    ]
    volatile = connection.execute("SELECT provolatile::text FROM pg_proc WHERE oid = 'tenancy.practices()'::regprocedure").fetchone()
    return found + (["the policy's function is volatile: it would run for every row"] if volatile == ("v",) else [])


def _views(connection: Connection) -> list[str]:
    query = """
    SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ANY (%s)
      AND (c.relkind = 'm' OR c.relkind = 'v' AND NOT coalesce('security_invoker=true' = ANY (c.reloptions), false))
    """
    return [f"view {name} reads with its owner's rights" for (name,) in connection.execute(query, [list(SERVICES)]).fetchall()]


def _platform(connection: Connection) -> list[str]:
    """The key that signs tenant contexts is nobody's to read, and nobody else makes objects in shared schemas."""
    found = []
    for role in [*(f"{service}_{kind}" for service in SERVICES for kind in ("app", "owner")), "debezium", "auditor"]:
        reads, creates = connection.execute(_MAY_FORGE, [role, role]).fetchone() or (True, True)
        found += [f"role {role} may touch the tenancy key"] if reads else []
        found += [f"role {role} may create objects in schema tenancy"] if creates else []
    return found
