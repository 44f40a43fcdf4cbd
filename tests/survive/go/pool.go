package main

// Which nodes there are and which of them are live: what the endpoints of a Kubernetes Service say.

import (
	"context"
	"net"
	"net/http"
	"sort"
	"sync"
	"time"
)

// A node is asked this often.
const probeEvery = 100 * time.Millisecond

// A node that has said nothing for so long is silent; after so many times in a row it is gone.
const (
	probePatience = 500 * time.Millisecond
	silencesMax   = 2
)

// node is one server. Ready is the address that says over HTTP whether it wants requests; a server without one is live
// while it takes connections, as a tcpSocket probe would have it.
type node struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Ready   string `json:"ready"`
}

// change is a moment at which a node began or ceased to be live.
type change struct {
	At   float64 `json:"at"`
	Node string  `json:"node"`
	Live bool    `json:"live"`
}

// verdict is what a node was found to be.
type verdict int

const (
	// ready for requests.
	ready verdict = iota
	// unready by its own word: it gets no new connection, and keeps those that it has.
	unready
	// gone: its connections are as good as closed.
	gone
	// silent, which it may be for a moment.
	silent
)

type pool struct {
	sync.Mutex
	members []node
	isLive  map[string]bool
	// stops ends the probing of a node that is no longer there.
	stops map[string]context.CancelFunc
	// names has those of all addresses that ever were.
	names   map[string]string
	changes []change
	// onGone is told of a node that is gone, perhaps more than once.
	onGone func(name string)
	probe  *http.Client
}

func newPool(nodes []node) *pool {
	p := &pool{isLive: map[string]bool{}, stops: map[string]context.CancelFunc{}, names: map[string]string{}}
	p.onGone = func(string) {}
	// No connection is kept: one to a stopped node must not look like an answer.
	p.probe = &http.Client{Timeout: probePatience, Transport: &http.Transport{DisableKeepAlives: true}}
	for _, member := range nodes {
		p.isLive[member.Name] = true
	}
	p.set(nodes)
	return p
}

// set says which nodes there are. A new one is live once it has said so.
func (p *pool) set(nodes []node) {
	p.Lock()
	left := p.stops
	p.stops = map[string]context.CancelFunc{}
	p.members = append([]node{}, nodes...)
	// Grafana's clients sort names so that n2 comes before n10.
	sort.Slice(p.members, func(a, b int) bool {
		left, right := p.members[a].Name, p.members[b].Name
		return len(left) < len(right) || len(left) == len(right) && left < right
	})
	for _, member := range p.members {
		p.names[member.Address] = member.Name
		if stop, known := left[member.Name]; known {
			p.stops[member.Name] = stop
			delete(left, member.Name)
			continue
		}
		during, stop := context.WithCancel(context.Background())
		p.stops[member.Name] = stop
		go p.watch(during, member)
	}
	p.Unlock()
	for name, stop := range left {
		stop()
		p.mark(name, gone)
	}
}

func (p *pool) watch(during context.Context, member node) {
	silences := 0
	for during.Err() == nil {
		found := p.ask(member)
		silences++
		if found != silent {
			silences = 0
		} else if silences >= silencesMax {
			found = gone
		}
		if found != silent && during.Err() == nil {
			p.mark(member.Name, found)
		}
		time.Sleep(probeEvery)
	}
}

func (p *pool) ask(member node) verdict {
	if member.Ready == "" {
		conn, err := net.DialTimeout("tcp", member.Address, probePatience)
		if err != nil {
			return without(err)
		}
		conn.Close()
		return ready
	}
	reply, err := p.probe.Get(member.Ready)
	if err != nil {
		return without(err)
	}
	reply.Body.Close()
	if reply.StatusCode == http.StatusOK {
		return ready
	}
	return unready
}

// without an answer.
func without(err error) verdict {
	if isTimeout(err) {
		return silent
	}
	return gone
}

func (p *pool) mark(name string, found verdict) {
	p.Lock()
	good := found == ready
	if p.isLive[name] != good {
		p.isLive[name] = good
		p.changes = append(p.changes, change{unixSeconds(time.Now()), name, good})
	}
	p.Unlock()
	if found == gone {
		p.onGone(name)
	}
}

// live lists the nodes that are, in the order of their names.
func (p *pool) live() []node {
	p.Lock()
	defer p.Unlock()
	var found []node
	for _, member := range p.members {
		if p.isLive[member.Name] {
			found = append(found, member)
		}
	}
	return found
}

// nameOf an address that is or was a node's.
func (p *pool) nameOf(address string) string {
	p.Lock()
	defer p.Unlock()
	return p.names[address]
}

// told are all changes so far.
func (p *pool) told() []change {
	p.Lock()
	defer p.Unlock()
	return append([]change{}, p.changes...)
}
