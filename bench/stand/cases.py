"""What is compared, and the goals. One row each; everything else follows from these two tables."""

from collections import namedtuple

# name, what it is called in tables, workload and its options, over what, the servers that take part.
Case = namedtuple("Case", "name title workload options transport servers")

EVERYBODY = ("relay", "nats-server", "mosquitto", "redis pub/sub", "lahar", "lahar+curve")
CONFIRMING = ("mosquitto", "lahar", "lahar+curve")
IDLE = 15000


def unicast(message_class, users, in_flight):
    return ("--class", message_class, "--users", users, "--in-flight", in_flight)


CASES = [
    Case("ephemeral-1000x16", "EPHEMERAL, 1,000 users x 16 in flight", "unicast", unicast("ephemeral", 1000, 16), "tcp",
         EVERYBODY),
    Case("ephemeral-1000x1", "EPHEMERAL, 1,000 x 1", "unicast", unicast("ephemeral", 1000, 1), "tcp", EVERYBODY),
    Case("ephemeral-10000x1", "EPHEMERAL, 10,000 x 1", "unicast", unicast("ephemeral", 10000, 1), "tcp", EVERYBODY),
    Case("tls-1000x1", "EPHEMERAL, 1,000 x 1, over TLS 1.3", "unicast", unicast("ephemeral", 1000, 1), "tls", CONFIRMING),
    Case("confirmed-1000x1", "CONFIRMED, 1,000 x 1", "unicast", unicast("confirmed", 1000, 1), "tcp", CONFIRMING),
    Case("confirmed-10000x1", "CONFIRMED, 10,000 x 1", "unicast", unicast("confirmed", 10000, 1), "tcp", CONFIRMING),
    Case("open-10000", "EPHEMERAL, open loop, 10,000 messages/s", "unicast",
         (*unicast("ephemeral", 1000, 1), "--rate", 10000), "tcp", EVERYBODY),
    Case("logins", "logins, TCP", "connect", ("--users", 1000), "tcp", EVERYBODY),
    Case("idle-tcp", f"{IDLE:,} idle connections, TCP", "idle", ("--users", IDLE), "tcp", EVERYBODY[:5]),
    Case("idle-tls", f"{IDLE:,} idle connections, TLS 1.3", "idle", ("--users", IDLE), "tls", ("mosquitto", "lahar")),
    Case("idle-ws", f"{IDLE:,} idle connections, WebSocket", "idle", ("--users", IDLE), "ws", ("lahar",)),
    Case("ws-1000x1", "EPHEMERAL, 1,000 x 1, over WebSocket", "unicast", unicast("ephemeral", 1000, 1), "ws", ("lahar",)),
]

# What is measured of a run, where it is in its result, and how it is printed.
Measure = namedtuple("Measure", "name path unit digits")

MEASURES = {
    "rate": Measure("messages per CPU second", ("per_cpu_second",), "", 0),
    "p50": Measure("p50", ("latency_us", "p50"), "µs", 0),
    "p99": Measure("p99", ("latency_us", "p99"), "µs", 0),
    "cpu": Measure("CPU per message", ("cpu_us_per_message",), "µs", 1),
    "login": Measure("CPU per login", ("logins", "cpu_us_each"), "µs", 0),
    "memory": Measure("resident bytes per connection", ("memory", "resident_per_connection"), "B", 0),
}

# Lahar's `measure`, divided by that of `peer` (None: as it is), is at least or at most `bound`. With CURVE on 0.8 of it will do,
# where `curve` says so.
Goal = namedtuple("Goal", "number case measure peer sense bound curve")


def at_least(number, case, peer, bound):
    return Goal(number, case, "rate", peer, "at least", bound, True)


GOALS = [
    at_least(1, "ephemeral-1000x16", "nats-server", 5),
    at_least(1, "ephemeral-1000x16", "mosquitto", 11),
    at_least(1, "ephemeral-1000x16", "redis pub/sub", 1),
    at_least(2, "ephemeral-1000x1", "nats-server", 2.7),
    at_least(2, "ephemeral-1000x1", "redis pub/sub", 1.4),
    at_least(2, "ephemeral-10000x1", "nats-server", 1.9),
    at_least(2, "ephemeral-10000x1", "redis pub/sub", 1.15),
    at_least(2, "ephemeral-10000x1", "relay", 0.88),
    at_least(3, "tls-1000x1", "mosquitto", 1.7),
    at_least(4, "confirmed-1000x1", "mosquitto", 2.2),
    at_least(4, "confirmed-10000x1", "mosquitto", 2.2),
    Goal(5, "open-10000", "p50", "relay", "at most", 2.2, True),
    Goal(5, "open-10000", "p99", "nats-server", "at most", 1, True),
    Goal(5, "open-10000", "cpu", "nats-server", "at most", 1.5, True),
    Goal(6, "idle-tcp", "memory", None, "at most", 700, False),
    Goal(6, "idle-tls", "memory", None, "at most", 14900, False),
    Goal(6, "idle-ws", "memory", None, "at most", 800, False),
]
CURVE_MAY = 0.8


def value_of(result, measure):
    """None if the result does not have it."""
    value = result
    for key in MEASURES[measure].path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def measures_of(case):
    """What its table has a column for."""
    return {"connect": ["login"], "idle": ["memory"]}.get(case.workload, ["rate", "p50", "p99", "cpu"])
