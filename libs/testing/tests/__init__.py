"""The simulators refuse what the real ones refuse, sign as they sign, and keep their own record."""
