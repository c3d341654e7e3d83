"""Do: append to the ledger, sign checkpoints, prove and export, compare with the outboxes."""
