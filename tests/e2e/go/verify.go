package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/grafana/gomemcache/memcache"
)

// Keys in one get-multi: what Grafana's query tiers send.
const batchKeys = 100

// Connections used at once.
const readers = 4

// Violations printed before the rest is only counted.
const shownMax = 10

// entry is one line of a manifest: a key and the file whose bytes it must hold.
type entry struct {
	Key  string `json:"key"`
	Path string `json:"path"`
}

// tally counts what the readers found.
type tally struct {
	sync.Mutex
	singly, batched, bytes, violations int
}

func (t *tally) violation(format string, arguments ...any) {
	t.Lock()
	defer t.Unlock()
	t.violations++
	if t.violations <= shownMax {
		fmt.Fprintf(os.Stderr, format+"\n", arguments...)
	}
}

// verify reads every key of the manifest singly and in batches and compares every byte with the file.
func verify(client *memcache.Client, manifest string) error {
	entries, err := readManifest(manifest)
	if err != nil {
		return err
	}
	start := time.Now()
	var counts tally
	var group sync.WaitGroup
	batches := make(chan []entry)
	for range readers {
		group.Add(1)
		go func() {
			defer group.Done()
			for batch := range batches {
				verifyBatch(client, batch, &counts)
			}
		}()
	}
	for from := 0; from < len(entries); from += batchKeys {
		batches <- entries[from:min(from+batchKeys, len(entries))]
	}
	close(batches)
	group.Wait()
	fmt.Printf("%d keys singly and %d in batches of %d, %.1f MB in %.1f s, %d violations\n",
		counts.singly, counts.batched, batchKeys, float64(counts.bytes)/1e6, time.Since(start).Seconds(), counts.violations)
	if counts.violations > 0 {
		return fmt.Errorf("%d violations", counts.violations)
	}
	return nil
}

func verifyBatch(client *memcache.Client, batch []entry, counts *tally) {
	keys := make([]string, len(batch))
	for at, entry := range batch {
		keys[at] = entry.Key
	}
	items, err := client.GetMulti(context.Background(), keys)
	if err != nil {
		counts.violation("get-multi of %d keys from %s on: %v", len(keys), keys[0], err)
	}
	for _, entry := range batch {
		wanted, err := os.ReadFile(entry.Path)
		if err != nil {
			counts.violation("%v", err)
			continue
		}
		if item := items[entry.Key]; item == nil {
			counts.violation("%s: missing in a get-multi", entry.Key)
		} else if !bytes.Equal(item.Value, wanted) {
			counts.violation("%s: a get-multi gives other bytes than %s", entry.Key, entry.Path)
		}
		item, err := client.Get(entry.Key)
		if err != nil {
			counts.violation("%s: get: %v", entry.Key, err)
		} else if !bytes.Equal(item.Value, wanted) {
			counts.violation("%s: a get gives other bytes than %s", entry.Key, entry.Path)
		}
		counts.Lock()
		counts.singly++
		counts.batched++
		counts.bytes += 2 * len(wanted)
		counts.Unlock()
	}
}

func readManifest(path string) ([]entry, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var entries []entry
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var line entry
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		entries = append(entries, line)
	}
	return entries, lines.Err()
}
