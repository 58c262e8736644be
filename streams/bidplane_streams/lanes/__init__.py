"""Lanes: transactional loops from Kafka to the core and back.

Decides how records reach the core exactly once. Refuses to know what they mean, but for the
adapters ``accounts`` and ``markets``, which speak both languages.
"""
