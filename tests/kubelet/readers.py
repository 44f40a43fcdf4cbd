"""A client as careful ones are: pymemcache that asks once more when its connection was closed. Knows no pods."""

import threading
import time
from collections import Counter

from pymemcache.client.base import PooledClient
from pymemcache.client.retrying import RetryingClient
from pymemcache.exceptions import MemcacheError, MemcacheUnexpectedCloseError

KEYS = 500
PACE_SECONDS = 0.005


class RetryingReader(threading.Thread):
    """Gets, one after the other, of keys that it has written itself."""

    def __init__(self, service, settings):
        super().__init__(name="reader", daemon=True)
        host, port = service.rsplit(":", 1)
        patience = settings.timeout_ms / 1000
        pool = PooledClient((host, int(port)), max_pool_size=4, connect_timeout=patience, timeout=patience, no_delay=True)
        closed = [MemcacheUnexpectedCloseError, ConnectionError]
        self.client = RetryingClient(pool, attempts=2, retry_delay=0.01, retry_for=closed)
        self.ended = threading.Event()
        self.done = self.failed = 0
        self.reasons = Counter()
        for number in range(KEYS):
            self.client.set(f"careful/{number}", b"v" * 200, noreply=False)

    def run(self):
        number = 0
        while not self.ended.is_set():
            number = (number + 1) % KEYS
            try:
                found = self.client.get(f"careful/{number}")
                if found is None:
                    raise LookupError("a miss")
            except (OSError, MemcacheError, LookupError) as error:
                self.failed += 1
                self.reasons[f"{type(error).__name__}: {error}"] += 1
            self.done += 1
            time.sleep(PACE_SECONDS)

    def end(self):
        self.ended.set()
        self.join()
        self.client.close()
