"""Do: run practices, invite and change users, make keys, enter practices, follow the identity provider."""
