package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/grafana/gomemcache/memcache"
)

// command is one line in. Value carries bytes as the characters U+0000 to U+00FF.
type command struct {
	Op     string `json:"op"`
	Key    string `json:"key"`
	Value  string `json:"value"`
	Number int64  `json:"number"`
}

// answer is one line out: result is "ok", "no" (not stored, conflict) or "missing".
type answer struct {
	Result string `json:"result"`
	Value  string `json:"value"`
	Number uint64 `json:"number"`
	Error  string `json:"error,omitempty"`
}

// agent runs commands one at a time. It keeps the item of the last gets of a key, since only gomemcache knows its token.
func agent(client *memcache.Client, in io.Reader, out io.Writer) error {
	seen := map[string]*memcache.Item{}
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64*1024), 1024*1024)
	replies := json.NewEncoder(out)
	for lines.Scan() {
		var line command
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return err
		}
		if err := replies.Encode(run(client, line, seen)); err != nil {
			return err
		}
	}
	return lines.Err()
}

func run(client *memcache.Client, line command, seen map[string]*memcache.Item) answer {
	item := &memcache.Item{Key: line.Key, Value: toBytes(line.Value), Expiration: int32(line.Number)}
	switch line.Op {
	case "set":
		return outcome(client.Set(item))
	case "add":
		return outcome(client.Add(item))
	case "replace":
		return outcome(client.Replace(item))
	case "get", "gets":
		found, err := client.Get(line.Key)
		if err != nil {
			return outcome(err)
		}
		if line.Op == "gets" {
			seen[line.Key] = found
		}
		return answer{Result: "ok", Value: fromBytes(found.Value)}
	case "cas":
		known := seen[line.Key]
		if known == nil {
			return answer{Error: "cas before gets"}
		}
		known.Value = item.Value
		return outcome(client.CompareAndSwap(known))
	case "incr":
		return counted(client.Increment(line.Key, uint64(line.Number)))
	case "decr":
		return counted(client.Decrement(line.Key, uint64(line.Number)))
	case "touch":
		return outcome(client.Touch(line.Key, int32(line.Number)))
	case "delete":
		return outcome(client.Delete(line.Key))
	case "flush_all":
		return outcome(client.FlushAll())
	}
	return answer{Error: fmt.Sprintf("unknown command %q", line.Op)}
}

func outcome(err error) answer {
	switch {
	case err == nil:
		return answer{Result: "ok"}
	case errors.Is(err, memcache.ErrCacheMiss):
		return answer{Result: "missing"}
	case errors.Is(err, memcache.ErrCASConflict), errors.Is(err, memcache.ErrNotStored):
		return answer{Result: "no"}
	}
	return answer{Error: err.Error()}
}

func counted(value uint64, err error) answer {
	if err != nil {
		return outcome(err)
	}
	return answer{Result: "ok", Number: value}
}

func toBytes(text string) []byte {
	bytes := make([]byte, 0, len(text))
	for _, char := range text {
		bytes = append(bytes, byte(char))
	}
	return bytes
}

func fromBytes(bytes []byte) string {
	chars := make([]rune, len(bytes))
	for at, value := range bytes {
		chars[at] = rune(value)
	}
	return string(chars)
}
