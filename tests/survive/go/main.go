// The load of `make survive`: gets, sets and batches at a fixed rate through grafana/gomemcache, and what became of each.
//
// Started by tests/survive/load.py, which writes one JSON command a line: the settings first, then `fill`, `go`,
// `nodes` (which nodes there are from now on) and `stop`. Every command but `nodes` is answered by one line. It knows no
// process and no event: which node is live it learns by asking, as Kubernetes does.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// settings is the first line.
type settings struct {
	// Setup is "service" (one address, behind which connections are dealt out) or "list" (the addresses of all).
	Setup string `json:"setup"`
	Nodes []node `json:"nodes"`
	// Clients is how many processes of a query tier are stood in for, each with connections and a list of its own.
	Clients int `json:"clients"`
	Keys    int `json:"keys"`
	// ValueBytes of every value.
	ValueBytes int `json:"value_bytes"`
	// Rate of single operations, a second; SetShare of them are sets.
	Rate     int     `json:"rate"`
	SetShare float64 `json:"set_share"`
	// BatchKeys are read at once every BatchMillis.
	BatchKeys   int `json:"batch_keys"`
	BatchMillis int `json:"batch_ms"`
	// TimeoutMillis is the client's patience for a connection and for an answer.
	TimeoutMillis int `json:"timeout_ms"`
	// RefreshMillis passes between two looks at the list of addresses, as at DNS.
	RefreshMillis int   `json:"refresh_ms"`
	Seed          int64 `json:"seed"`
}

type command struct {
	Do    string `json:"do"`
	Nodes []node `json:"nodes"`
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 64*1024), 1024*1024)
	var told settings
	if !lines.Scan() {
		fail("no settings on standard input")
	}
	if err := json.Unmarshal(lines.Bytes(), &told); err != nil {
		fail(err.Error())
	}
	members := newPool(told.Nodes)
	var service *balancer
	if told.Setup == "service" {
		service = newBalancer(members)
	}
	load := newLoad(told, members, service)
	say(map[string]any{"said": "ready", "service": load.service()})
	for lines.Scan() {
		var line command
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			fail(err.Error())
		}
		switch line.Do {
		case "nodes":
			members.set(line.Nodes)
		case "fill":
			begin := time.Now()
			if err := load.fill(); err != nil {
				fail(fmt.Sprintf("fill: %v", err))
			}
			say(map[string]any{"said": "filled", "seconds": time.Since(begin).Seconds()})
		case "go":
			say(map[string]any{"said": "started", "at": unixSeconds(load.begin())})
		case "stop":
			say(load.end())
			return
		default:
			fail(fmt.Sprintf("unknown command %q", line.Do))
		}
	}
}

func say(line any) {
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		fail(err.Error())
	}
}

func unixSeconds(at time.Time) float64 { return float64(at.UnixMicro()) / 1e6 }

func fail(why string) {
	fmt.Fprintln(os.Stderr, "survive-load:", why)
	os.Exit(1)
}
