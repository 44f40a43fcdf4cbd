"""docs/compatibility.md held against the tables: no command or flag is missing, no named test is made up.

The page has tables of three columns: `command or flag` | state | test, and one of differences: `id` | what | why. A state is
"same", or "differs: id"; a test is "file.toml: name of a row", or "e2e part" for what a row cannot ask.
"""

import os
import re

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "compatibility.md")
DIFFERENCES_MAX = 10
PARTS = {"e2e text", "e2e random", "e2e semantics", "e2e files", "e2e kill"}

# The words of the protocol: each needs a line of the page, and a row of the tables that sends it in its simplest form; those
# of WITHOUT_ROWS are sent beside others, or are no words of a client.
FLAGS = {
    "mg": "bkOqPLcCEfhlstTNRuv",
    "ms": "bkOqPLcCEFfhlstvuTNIM",
    "md": "bkOqPLcCEfhlstvuTFIx",
    "ma": "bkOqPLcCEfhlstvuTNMJD",
}
COMMANDS = [
    "set", "add", "replace", "append", "prepend", "cas", "get", "gets", "gat", "gats", "touch", "delete", "incr", "decr",
    "flush_all", "flush_over", "version", "verbosity", "quit", "shutdown", "cache_memlimit", "lru mode", "lru tune", "lru temp_ttl",
    "lru_crawler enable", "lru_crawler sleep", "lru_crawler tocrawl", "lru_crawler crawl", "lru_crawler metadump",
    "lru_crawler mgdump", "lru_crawler disable", "slabs reassign", "slabs automove", "watch fetchers", "watch mutations", "watch", "stats", "stats settings", "stats items",
    "stats slabs", "stats sizes", "stats conns", "stats reset", "stats detail", "stats cachedump", "config get",
    "debugtime", "debugitem", "misbehave", "refresh_certs", "extstore", "noreply", "mg", "ms", "md", "ma", "me", "mn",
]  # fmt: skip
WITHOUT_ROWS = ["watch evictions", "watch connevents", "-Y"]
VOCABULARY = {*COMMANDS, *(f"{command} {flag}" for command, flags in FLAGS.items() for flag in flags)}


def words_of(row):
    """The commands and flags that a row sends, of those in the vocabulary."""
    found = set()
    for line in re.split(r"\r?\n", row.sent):
        words = line.split()
        if not words:
            continue
        found |= {words[0], " ".join(words[:2])}
        found |= {"noreply"} if words[-1] == "noreply" else set()
        if words[0] in FLAGS:
            found |= {f"{words[0]} {word[0]}" for word in words[2:]}
    return found & VOCABULARY


def cells(section_text):
    lines = [line for line in section_text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def check(table, report):
    with open(PAGE, encoding="utf-8") as file:
        page = file.read()
    tests, _, differences = page.partition("## Differences on purpose")
    wrong = [f"no row of the tables sends {word}" for word in sorted(VOCABULARY - set().union(*map(words_of, table)))]
    wrong += lines_of_words(cells(tests), table)
    ids = lines_of_differences(cells(differences), table)
    report.check(f"docs/compatibility.md names {len(VOCABULARY) + len(WITHOUT_ROWS)} commands and flags, each with a test", wrong)
    report.check("every difference on purpose has its reason there, and there are few", ids)


def lines_of_words(lines, table):
    wrong, named = [], {}
    rows = {str(row): row for row in table}
    differing = {row.difference for row in table if row.difference}
    for line in lines:
        if len(line) != 3:
            wrong.append(f"not three cells: {' | '.join(line)}")
            continue
        word, state, test = line[0].strip("`"), line[1], line[2]
        if word in named:
            wrong.append(f"{word} is there twice")
        named[word] = test
        if state != "same" and not (state.startswith("differs: ") and state.removeprefix("differs: ") in differing):
            wrong.append(f"{word}: {state} is no state")
        if test in rows:
            if word not in WITHOUT_ROWS and word not in words_of(rows[test]):
                wrong.append(f"{word}: the row does not send it: {test}")
        elif test not in PARTS:
            wrong.append(f"{word}: there is no such test: {test}")
    missing = (VOCABULARY | set(WITHOUT_ROWS)) - set(named)
    return wrong + [f"missing: {word}" for word in sorted(missing)]


def lines_of_differences(lines, table):
    used = {row.difference for row in table if row.difference}
    named = {line[0].strip("`"): line[1:] for line in lines}
    wrong = [f"{name} is used by a row and not in the page" for name in sorted(used - set(named))]
    wrong += [f"{name} is in the page and no row shows it" for name in sorted(set(named) - used)]
    wrong += [f"{name} has no reason" for name, rest in named.items() if len(rest) != 2 or not all(rest)]
    if len(named) > DIFFERENCES_MAX:
        wrong.append(f"{len(named)} differences, at most {DIFFERENCES_MAX}")
    return wrong
