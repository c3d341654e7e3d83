"""The lints and generators do what they say."""
