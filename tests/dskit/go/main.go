// What a query tier does through grafana/dskit's own cache client, at its defaults: get-multi in batches of 100 keys,
// asynchronous sets, add as a lock, delete.
//
// dskit-load ADDRESSES SECONDS: fills, says `filled`, works for so long after a line on standard input, and tells what
// became of each operation as JSON. It knows no server; addresses are what dskit takes (a comma-separated list).
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/grafana/dskit/cache"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	keys       = 20_000
	valueBytes = 2000
	batchKeys  = 100
	lifetime   = time.Hour
	// Each kind of operation begins so often.
	batchEvery  = 5 * time.Millisecond
	singleEvery = 10 * time.Millisecond
	// dskit drops sets of a full queue: so many at a time are waited for while filling.
	fillPart  = 500
	fillTries = 20
)

// ended is one operation that failed, or found less than it should.
type ended struct {
	At    float64 `json:"at"`
	Found int     `json:"found"`
	Why   string  `json:"why,omitempty"`
}

// outcomes of one kind.
type outcomes struct {
	sync.Mutex
	Done   int     `json:"done"`
	Failed []ended `json:"failed"`
	Short  []ended `json:"short"`
}

func (o *outcomes) note(at float64, found, wanted int, err error) {
	o.Lock()
	defer o.Unlock()
	o.Done++
	switch {
	case err != nil:
		o.Failed = append(o.Failed, ended{At: at, Why: err.Error()})
	case found < wanted:
		o.Short = append(o.Short, ended{At: at, Found: found})
	}
}

func main() {
	if len(os.Args) != 3 {
		fail("dskit-load ADDRESSES SECONDS")
	}
	seconds, err := strconv.ParseFloat(os.Args[2], 64)
	if err != nil {
		fail(err.Error())
	}
	registry := prometheus.NewRegistry()
	client := newClient(os.Args[1], registry)
	defer client.Stop()
	fill(client)
	fmt.Println("filled")
	bufio.NewScanner(os.Stdin).Scan()
	say(work(client, registry, time.Duration(seconds*float64(time.Second))))
}

// newClient has dskit's defaults, but for the addresses.
func newClient(addresses string, registry *prometheus.Registry) *cache.MemcachedClient {
	var config cache.MemcachedClientConfig
	flags := flag.NewFlagSet("", flag.PanicOnError)
	config.RegisterFlagsWithPrefix("", flags)
	if err := config.Addresses.Set(addresses); err != nil {
		fail(err.Error())
	}
	client, err := cache.NewMemcachedClientWithConfig(log.NewNopLogger(), "chunks", config, registry)
	if err != nil {
		fail(err.Error())
	}
	return client
}

func key(number int) string { return fmt.Sprintf("chunk/%08d", number%keys) }

func fill(client *cache.MemcachedClient) {
	value := make([]byte, valueBytes)
	for first := 0; first < keys; first += fillPart {
		var part []string
		for number := first; number < first+fillPart; number++ {
			client.SetAsync(key(number), value, lifetime)
			part = append(part, key(number))
		}
		for tries := 0; len(client.GetMulti(context.Background(), part)) < len(part); tries++ {
			// Behind one address memcacheds that know nothing of each other have a third of what is looked for.
			if tries == fillTries {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// work begins operations at a fixed rate, whatever becomes of earlier ones.
func work(client *cache.MemcachedClient, registry *prometheus.Registry, length time.Duration) map[string]any {
	kinds := map[string]*outcomes{}
	var group sync.WaitGroup
	begin := time.Now()
	stream := func(kind string, every time.Duration, act func(number int) (found, wanted int, err error)) {
		told := &outcomes{Failed: []ended{}, Short: []ended{}}
		kinds[kind] = told
		group.Add(1)
		go func() {
			defer group.Done()
			for number := 0; ; number++ {
				due := begin.Add(every * time.Duration(number))
				time.Sleep(time.Until(due))
				if time.Since(begin) > length {
					return
				}
				group.Add(1)
				go func() {
					defer group.Done()
					found, wanted, err := act(number)
					told.note(due.Sub(begin).Seconds(), found, wanted, err)
				}()
			}
		}()
	}
	background := context.Background()
	value := make([]byte, valueBytes)
	stream("get-multi", batchEvery, func(number int) (int, int, error) {
		batch := make([]string, batchKeys)
		for at := range batch {
			// Prime steps: a batch is spread over all servers.
			batch[at] = key(number*7919 + at*101)
		}
		return len(client.GetMulti(background, batch)), batchKeys, nil
	})
	stream("set", singleEvery, func(number int) (int, int, error) {
		client.SetAsync(key(number*7907), value, lifetime)
		return 0, 0, nil
	})
	var locked atomic.Int64
	stream("lock", singleEvery, func(number int) (int, int, error) {
		name := fmt.Sprintf("lock/%08d", number)
		err := client.Add(background, name, value[:10], time.Minute)
		if err != nil {
			return 0, 0, err
		}
		locked.Add(1)
		// Held by now: a second one must be refused.
		if err := client.Add(background, name, value[:10], time.Minute); err == nil {
			return 0, 0, errors.New("a lock was given twice")
		} else if !errors.Is(err, cache.ErrNotStored) {
			return 0, 0, err
		}
		return 0, 0, client.Delete(background, name)
	})
	group.Wait()
	return map[string]any{"begin": float64(begin.UnixMicro()) / 1e6, "kinds": kinds, "metrics": failures(registry)}
}

// failures are what dskit itself has counted as failed, by operation and reason.
func failures(registry *prometheus.Registry) map[string]float64 {
	counted := map[string]float64{}
	families, err := registry.Gather()
	if err != nil {
		fail(err.Error())
	}
	for _, family := range families {
		name := family.GetName()
		if !strings.HasSuffix(name, "operation_failures_total") && !strings.HasSuffix(name, "operation_skipped_total") {
			continue
		}
		for _, metric := range family.GetMetric() {
			labels := []string{}
			for _, label := range metric.GetLabel() {
				if label.GetName() == "operation" || label.GetName() == "reason" {
					labels = append(labels, label.GetValue())
				}
			}
			if value := metric.GetCounter().GetValue(); value > 0 {
				counted[strings.Join(labels, " ")] += value
			}
		}
	}
	return counted
}

func say(line any) {
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		fail(err.Error())
	}
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, "dskit-load:", why)
	os.Exit(1)
}
