"""What happens to the nodes, and when: each event tells what it did as moments and durations.

An event calls `tell` after every change of which nodes there are. It knows no client.
"""

import time

import watch

VICTIM = "n2"
ADDED = ("n4", "n5")


class Story:
    """What an event did: when it began and ended, and which node was away from when to when."""

    def __init__(self, server, settings, tell):
        self.server, self.settings, self.tell = server, settings, tell
        self.begin = self.end = 0.0
        self.away = []
        self.notes = {}

    def play(self, name):
        self.begin = time.time()
        EVENTS[name](self)
        self.end = time.time()

    def node(self, name):
        return next(node for node in self.server.nodes if node.name == name)

    def is_away(self, name, since):
        """From `since` to now."""
        self.away.append({"node": name, "from": since, "to": time.time()})

    def facts(self):
        return {"begin": self.begin, "end": self.end, "away": self.away, "notes": self.notes}


def kill(story):
    """SIGKILL; the node is started again, empty, some seconds later."""
    node = story.node(VICTIM)
    node.kill()
    time.sleep(story.settings.down)
    node.start()
    story.notes["started_s"] = [story.server.wait_started(node)]
    story.is_away(VICTIM, story.begin)


def pause(story):
    """SIGSTOP: the node is silent, its connections stay."""
    node = story.node(VICTIM)
    story.server.pause(node)
    time.sleep(story.settings.pause)
    story.server.go_on(node)
    story.is_away(VICTIM, story.begin)


def outage(story):
    """The same for longer; then the others deliver what it has missed."""
    node = story.node(VICTIM)
    story.server.pause(node)
    time.sleep(story.settings.outage)
    catch_up = watch.CatchUp([other for other in story.server.nodes if other is not node])
    story.server.go_on(node)
    story.is_away(VICTIM, story.begin)
    story.notes["catch_up"] = catch_up.watch(story.settings.value_bytes)


def roll(story):
    """Every node is stopped by SIGTERM and started again, the next one when it has started."""
    stops, starts = [], []
    for node in list(story.server.nodes):
        since = time.time()
        stops.append(story.server.terminate(node))
        time.sleep(story.settings.restart)
        node.start()
        starts.append(story.server.wait_started(node))
        story.is_away(node.name, since)
    story.notes |= {"stopped_s": stops, "started_s": starts}


def scale(story):
    """Two nodes more, and after a while two less."""
    server, joined, drained = story.server, [], []
    for name in ADDED:
        node = server.add(name)
        joined.append(server.wait_started(node))
        story.tell(server.members())
    time.sleep(story.settings.hold)
    story.notes["out_until_s"] = time.time() - story.begin
    for name in reversed(ADDED):
        node = story.node(name)
        if server.hands_over:
            drained.append(server.drain(node))
        since = time.time()
        server.terminate(node)
        server.nodes.remove(node)
        story.tell(server.members())
        story.is_away(name, since)
        # Clients with a list may know its address for so long.
        story.away[-1]["to"] += story.settings.refresh
    story.notes |= {"joined_s": joined, "drained_s": drained}


EVENTS = {"kill": kill, "pause": pause, "roll": roll, "scale": scale, "outage": outage}
