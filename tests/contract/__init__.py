"""What services say stays compatible, documented and exemplified."""
