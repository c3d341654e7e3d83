"""Audit: the ledger. Everything that happened, in an append-only log per practice that can prove itself."""
