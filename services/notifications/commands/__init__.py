"""Do: plan, send and follow e-mails; keep settings and contacts."""
