"""Do: book and change appointments, take booking notices, deliver webhooks."""
