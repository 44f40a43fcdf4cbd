package main

// One address for all nodes, as a Kubernetes Service is: connections are dealt out in turn to the nodes that are live,
// and those to a node that is gone are closed. One that is merely not ready keeps those that it has.

import (
	"io"
	"net"
	"sync"
	"time"
)

// A connection that could not be taken is tried again after this.
const acceptAgain = 10 * time.Millisecond

type balancer struct {
	sync.Mutex
	pool     *pool
	listener net.Listener
	turn     int
	// nodes says, for the address of a client's end, which node is behind it. An address is kept until it is used anew:
	// a client hears of an end later than we do, and there are no more addresses than ports.
	nodes map[string]string
	// open has both ends of every connection to a node.
	open map[string]map[io.Closer]bool
}

func newBalancer(members *pool) *balancer {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err.Error())
	}
	b := &balancer{pool: members, listener: listener, nodes: map[string]string{}, open: map[string]map[io.Closer]bool{}}
	members.onGone = b.drop
	go b.serve()
	return b
}

func (b *balancer) address() string { return b.listener.Addr().String() }

func (b *balancer) nodeOf(client string) string {
	b.Lock()
	defer b.Unlock()
	return b.nodes[client]
}

func (b *balancer) serve() {
	for {
		client, err := b.listener.Accept()
		if err != nil {
			// Out of files, in a storm: whoever waits is served when some have ended.
			time.Sleep(acceptAgain)
			continue
		}
		go b.join(client)
	}
}

func (b *balancer) join(client net.Conn) {
	defer client.Close()
	live := b.pool.live()
	b.Lock()
	name, address := "", ""
	if len(live) > 0 {
		b.turn++
		name, address = live[b.turn%len(live)].Name, live[b.turn%len(live)].Address
	}
	b.nodes[client.RemoteAddr().String()] = name
	b.Unlock()
	server, err := net.DialTimeout("tcp", address, probePatience)
	if err != nil {
		return
	}
	defer server.Close()
	b.keep(name, client, server)
	defer b.forget(name, client, server)
	ended := make(chan struct{}, 2)
	pass := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		ended <- struct{}{}
	}
	go pass(server, client)
	go pass(client, server)
	<-ended
}

func (b *balancer) keep(name string, ends ...io.Closer) {
	b.Lock()
	defer b.Unlock()
	if b.open[name] == nil {
		b.open[name] = map[io.Closer]bool{}
	}
	for _, end := range ends {
		b.open[name][end] = true
	}
}

func (b *balancer) forget(name string, ends ...io.Closer) {
	b.Lock()
	defer b.Unlock()
	for _, end := range ends {
		delete(b.open[name], end)
	}
}

func (b *balancer) drop(name string) {
	b.Lock()
	defer b.Unlock()
	for end := range b.open[name] {
		end.Close()
	}
}
