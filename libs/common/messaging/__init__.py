"""The Kafka door: decode, trace, once, dispatch, commit, acknowledge; split on failure; park and redrive.

Promises. Each message is handled at least once and its effects are committed exactly once (inbox mark and effects share
a transaction). Order is kept per practice and subject, parked messages included. Offsets follow the commit, lazily.
"""

from libs.common.messaging.consumer import Consumer
from libs.common.messaging.received import Incoming, Received

__all__ = ["Consumer", "Incoming", "Received"]
