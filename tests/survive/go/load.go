package main

// Open-loop load: every operation is due at a moment that no earlier answer changes, and its wait is counted from then.
// A server that stands still for a second so keeps everybody who came in that second waiting, and they are counted.

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grafana/gomemcache/memcache"
)

// More operations than this are never under way at once; those that come on top fail. A second of load or more.
const underWayMax = 20_000

// Sets written to a server in one go while filling, and how many goroutines do.
const (
	fillKeys    = 100
	fillWorkers = 8
)

// A filling server is waited for so long.
const fillPatience = 10 * time.Second

var (
	errTooMany    = errors.New("too many under way")
	errWrongValue = errors.New("wrong value")
)

type load struct {
	settings
	pool     *pool
	balancer *balancer
	clients  []*client
	keys     []string
	padding  []byte
	recorder *recorder
	underWay atomic.Int64
	stopped  chan struct{}
	group    sync.WaitGroup
}

// newLoad prepares it; behind `service`, or with the addresses of all nodes when that is nil.
func newLoad(told settings, members *pool, service *balancer) *load {
	l := &load{settings: told, pool: members, balancer: service, recorder: newRecorder(), stopped: make(chan struct{})}
	l.padding = bytes.Repeat([]byte("v"), told.ValueBytes)
	for number := range told.Keys {
		l.keys = append(l.keys, fmt.Sprintf("chunk/%010d", number))
	}
	for number := range told.Clients {
		made := newClient(time.Duration(told.TimeoutMillis)*time.Millisecond, l.nodeOf)
		l.clients = append(l.clients, made)
		if service != nil {
			made.selector.set([]address{address(service.address())})
			continue
		}
		made.selector.set(l.addresses())
		go l.refresh(made.selector, number)
	}
	return l
}

// service is the one address, for clients of other kinds; empty if there is none.
func (l *load) service() string {
	if l.balancer == nil {
		return ""
	}
	return l.balancer.address()
}

func (l *load) nodeOf(near, far string) string {
	if l.balancer != nil {
		return l.balancer.nodeOf(near)
	}
	return l.pool.nameOf(far)
}

func (l *load) addresses() []address {
	var found []address
	for _, member := range l.pool.live() {
		found = append(found, address(member.Address))
	}
	return found
}

// refresh gives a client the list of live nodes from time to time, each client at moments of its own.
func (l *load) refresh(selector *selector, number int) {
	every := time.Duration(l.RefreshMillis) * time.Millisecond
	time.Sleep(every * time.Duration(number) / time.Duration(l.Clients))
	for {
		selector.set(l.addresses())
		time.Sleep(every)
	}
}

func (l *load) value(key string) []byte {
	value := append(make([]byte, 0, len(l.padding)), l.padding...)
	copy(value, key)
	return value
}

// begin starts both streams and returns the moment from which seconds are counted.
func (l *load) begin() time.Time {
	l.recorder.start = time.Now()
	l.group.Add(2)
	go l.stream(time.Second/time.Duration(l.Rate), l.Seed, l.single)
	go l.stream(time.Duration(l.BatchMillis)*time.Millisecond, l.Seed+1, l.batch)
	return l.recorder.start
}

// end stops them, waits for what is under way and tells everything.
func (l *load) end() map[string]any {
	close(l.stopped)
	l.group.Wait()
	record := l.recorder.told()
	record["liveness"] = l.pool.told()
	return record
}

// stream makes one operation due at every multiple of `every`, however long the earlier ones take.
func (l *load) stream(every time.Duration, seed int64, draw func(*rand.Rand, int) (int, func() (int, int, error))) {
	defer l.group.Done()
	rng := rand.New(rand.NewSource(seed))
	for number := 0; ; number++ {
		due := l.recorder.start.Add(every * time.Duration(number))
		time.Sleep(time.Until(due))
		select {
		case <-l.stopped:
			return
		default:
		}
		kind, act := draw(rng, number)
		l.recorder.due(kind, due)
		if l.underWay.Load() >= underWayMax {
			l.recorder.ended(kind, due, 0, 0, errTooMany)
			continue
		}
		l.underWay.Add(1)
		l.group.Add(1)
		go func() {
			defer l.group.Done()
			hits, misses, err := act()
			l.underWay.Add(-1)
			l.recorder.ended(kind, due, hits, misses, err)
		}()
	}
}

// single draws a get or a set of one key. A miss is not filled at once: only the sets bring lost keys back.
func (l *load) single(rng *rand.Rand, number int) (int, func() (int, int, error)) {
	key, through := l.keys[rng.Intn(len(l.keys))], l.clients[number%len(l.clients)]
	if rng.Float64() < l.SetShare {
		return kindSet, func() (int, int, error) {
			return 0, 0, through.Set(&memcache.Item{Key: key, Value: l.value(key)})
		}
	}
	return kindGet, func() (int, int, error) {
		item, err := through.Get(key)
		if errors.Is(err, memcache.ErrCacheMiss) {
			return 0, 1, nil
		}
		if err == nil && !bytes.HasPrefix(item.Value, []byte(key)) {
			err = errWrongValue
		}
		return 1, 0, err
	}
}

// batch draws many keys. One that had an error fails as a whole: Grafana's clients drop what it has brought.
func (l *load) batch(rng *rand.Rand, number int) (int, func() (int, int, error)) {
	keys, through := make([]string, l.BatchKeys), l.clients[number%len(l.clients)]
	for at := range keys {
		keys[at] = l.keys[rng.Intn(len(l.keys))]
	}
	return kindBatch, func() (int, int, error) {
		items, err := through.GetMulti(context.Background(), keys)
		hits := 0
		for _, key := range keys {
			item := items[key]
			if item == nil {
				continue
			}
			hits++
			if !bytes.HasPrefix(item.Value, []byte(key)) {
				err = errWrongValue
			}
		}
		return hits, len(keys) - hits, err
	}
}

// fill writes every key to the server that the clients look for it at, many at a time.
func (l *load) fill() error {
	servers := map[string][]string{}
	for _, key := range l.keys {
		server, err := l.clients[0].selector.PickServer(key)
		if err != nil {
			return err
		}
		servers[server.String()] = append(servers[server.String()], key)
	}
	work, failures := make(chan func() error), make(chan error, fillWorkers)
	for range fillWorkers {
		go func() {
			var failed error
			for write := range work {
				if failed == nil {
					failed = write()
				}
			}
			failures <- failed
		}()
	}
	for server, keys := range servers {
		for from := 0; from < len(keys); from += fillKeys * fillKeys {
			part := keys[from:min(from+fillKeys*fillKeys, len(keys))]
			work <- func() error { return l.write(server, part) }
		}
	}
	close(work)
	var failed error
	for range fillWorkers {
		failed = errors.Join(failed, <-failures)
	}
	return failed
}

// write sets keys over one connection, fillKeys before their answers are read.
func (l *load) write(server string, keys []string) error {
	conn, err := net.DialTimeout("tcp", server, fillPatience)
	if err != nil {
		return err
	}
	defer conn.Close()
	replies := bufio.NewReader(conn)
	for from := 0; from < len(keys); from += fillKeys {
		part, sent := keys[from:min(from+fillKeys, len(keys))], []byte{}
		for _, key := range part {
			sent = fmt.Appendf(sent, "set %s 0 0 %d\r\n%s\r\n", key, l.ValueBytes, l.value(key))
		}
		if err := conn.SetDeadline(time.Now().Add(fillPatience)); err != nil {
			return err
		}
		if _, err := conn.Write(sent); err != nil {
			return err
		}
		for range part {
			if line, err := replies.ReadString('\n'); err != nil || line != "STORED\r\n" {
				return fmt.Errorf("%s: %q %w", server, line, err)
			}
		}
	}
	return nil
}
