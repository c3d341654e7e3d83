"""What services say to each other: the envelope, the topics, one module per owner.

Data only. Imports Pydantic and the standard library, nothing of ours outside this package.
"""
