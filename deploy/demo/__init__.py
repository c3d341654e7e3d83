"""The main job, shown: one booking from Cal.com's webhook to the e-mail, the timeline and the provable ledger."""
