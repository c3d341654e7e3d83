"""Supabase Auth (GoTrue v2.196), as far as this house speaks to it: sign-in, invitations, admin API, hook, database webhook.

It reads the environment of the real image and gives its answers, awkward ones included. What it does not simulate it refuses
with 501 ``not_simulated``. ``server.py`` puts the parts together, ``steering.py`` is what tests can ask of it beyond the real API.
Sources: a recorded run of the real server, the Supabase Auth API reference, its documentation of hooks and signing keys.
"""
