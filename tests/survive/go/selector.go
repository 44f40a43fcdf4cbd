package main

// Which server a key goes to: Grafana's choice, a jump hash over the servers in the order of their names.

import (
	"net"
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/grafana/gomemcache/memcache"
)

// address is a server's; gomemcache groups keys by it, so equal ones must be equal.
type address string

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return string(a) }

// selector is gomemcache's ServerSelector.
type selector struct {
	sync.RWMutex
	servers []address
}

// set replaces the list. An empty one changes nothing: so does a name that resolves to nothing.
func (s *selector) set(servers []address) {
	s.Lock()
	defer s.Unlock()
	if len(servers) > 0 {
		s.servers = servers
	}
}

func (s *selector) PickServer(key string) (net.Addr, error) {
	s.RLock()
	defer s.RUnlock()
	switch len(s.servers) {
	case 0:
		return nil, memcache.ErrNoServers
	case 1:
		return s.servers[0], nil
	}
	return s.servers[jump(xxhash.Sum64String(key), len(s.servers))], nil
}

func (s *selector) Each(call func(net.Addr) error) error {
	s.RLock()
	defer s.RUnlock()
	for _, server := range s.servers {
		if err := call(server); err != nil {
			return err
		}
	}
	return nil
}

// jump is "A Fast, Minimal Memory, Consistent Hash Algorithm" (Lamping, Veach 2014).
func jump(key uint64, buckets int) int {
	bucket, next := int64(-1), int64(0)
	for next < int64(buckets) {
		bucket = next
		key = key*2862933555777941757 + 1
		next = int64(float64(bucket+1) * (float64(int64(1)<<31) / float64((key>>33)+1)))
	}
	return int(bucket)
}
