"""What is measured, and how long: from the environment, with defaults for a look, the full run and the smoke test."""

import os
from dataclasses import dataclass

SETUPS = ("service", "list")
EVENTS = ("kill", "pause", "roll", "scale", "outage")
SERVERS = ("3", "2", "1", "memcached")

# A look, on a machine with two cores that also run the servers.
DEFAULTS = {
    "RUNS": 1, "RATE": 3000, "SET_SHARE": 0.1, "KEYS": 200_000, "VALUE_BYTES": 1024, "BATCH_KEYS": 100, "BATCH_MS": 50,
    "TIMEOUT_MS": 500, "REFRESH": 10.0, "CLIENTS": 8, "THIN_RATE": 50, "MEMORY": 512, "SEED": 1,
    "CALM": 10.0, "AFTER": 15.0, "DOWN": 10.0, "RESTART": 2.0, "PAUSE": 10.0, "HOLD": 15.0, "OUTAGE": 60.0,
    "SETUPS": "service list", "EVENTS": "kill pause roll scale outage", "SERVERS": "3 2 1 memcached",
}  # fmt: skip
FULL = {"PAUSE": 30.0}
SMOKE = {
    "RATE": 1000, "KEYS": 20_000, "REFRESH": 2.0, "CALM": 6.0, "AFTER": 6.0, "DOWN": 3.0, "PAUSE": 3.0,
    "EVENTS": "kill pause roll", "SERVERS": "3",
}  # fmt: skip


class SettingError(Exception):
    """A variable of the environment has a value that is none."""


@dataclass(frozen=True)
class Settings:
    """Times are in seconds, rates a second, where the name does not say otherwise."""

    runs: int
    rate: int
    set_share: float
    keys: int
    value_bytes: int
    batch_keys: int
    batch_ms: int
    timeout_ms: int
    refresh: float
    clients: int
    thin_rate: int
    memory: int
    seed: int
    calm: float
    after: float
    down: float
    restart: float
    pause: float
    hold: float
    outage: float
    setups: tuple
    events: tuple
    servers: tuple

    def cells(self):
        """(run, event, set-up, server), server after server, so that a slow minute of the machine meets all of them."""
        return [
            (run, event, setup, server)
            for run in range(1, self.runs + 1)
            for event in self.events
            for setup in self.setups
            for server in self.servers
        ]


def read(preset, environment=os.environ):
    """Settings by `preset`, where the environment says nothing else."""
    values = {}
    for name, default in (DEFAULTS | preset).items():
        text = environment.get(name) or default
        try:
            values[name.lower()] = type(DEFAULTS[name])(text)
        except ValueError as error:
            raise SettingError(f"{name}={text}: expected a number") from error
    for name, known in (("setups", SETUPS), ("events", EVENTS), ("servers", SERVERS)):
        values[name] = tuple(values[name].split())
        for word in values[name]:
            if word not in known:
                raise SettingError(f"{name.upper()}: {word} is none of {', '.join(known)}")
    return Settings(**values)
