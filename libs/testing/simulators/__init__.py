"""Outside providers on loopback: their real wire formats, their real refusals, and a record of what they accepted.

Every simulator can be told to fail, hang, delay, or accept and lose the answer (``/_control``).
"""
