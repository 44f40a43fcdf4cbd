package main

// One face over the two gomemcache libraries, whose items and errors are types of their own.

import (
	"context"
	"errors"
	"reflect"
	"time"

	bradfitz "github.com/bradfitz/gomemcache/memcache"
	grafana "github.com/grafana/gomemcache/memcache"
)

// stored is an item of either library; raw is the library's own, which alone knows the token.
type stored struct {
	key     string
	value   string
	flags   uint32
	seconds int32
	raw     any
}

// face has the calls of a library by their names there; nil stands for a call that the library does not offer.
type face struct {
	get, getAndTouch                         func(key string, seconds int32) (*stored, error)
	getMulti                                 func(keys []string) (map[string]*stored, error)
	set, add, replace, append, prepend, swap func(item *stored) error
	delete                                   func(key string) error
	touch                                    func(key string, seconds int32) error
	increment, decrement                     func(key string, delta uint64) (uint64, error)
	deleteAll, flushAll, ping                func() error
	close                                    func()
	// reason is "" for no error, a word for the library's own errors, and the text of any other.
	reason func(err error) string
	// kind is the client's type: its methods are what it offers.
	kind reflect.Type
	// note is told the name of each call that is made.
	note func(name string)
}

const patience = 10 * time.Second

func dialGrafana(note func(string), addresses ...string) *face {
	client := grafana.New(addresses...)
	client.Timeout, client.ConnectTimeout = patience, patience
	item := func(from *stored) *grafana.Item {
		if known, ok := from.raw.(*grafana.Item); ok {
			known.Value = []byte(from.value)
			return known
		}
		return &grafana.Item{Key: from.key, Value: []byte(from.value), Flags: from.flags, Expiration: from.seconds}
	}
	known := func(from *grafana.Item) *stored {
		return &stored{key: from.Key, value: string(from.Value), flags: from.Flags, raw: from}
	}
	return &face{
		get: func(key string, _ int32) (*stored, error) {
			found, err := client.Get(key)
			if err != nil {
				return nil, err
			}
			return known(found), nil
		},
		getMulti: func(keys []string) (map[string]*stored, error) {
			return convert(known)(client.GetMulti(context.Background(), keys))
		},
		set:       func(from *stored) error { return client.Set(item(from)) },
		add:       func(from *stored) error { return client.Add(item(from)) },
		replace:   func(from *stored) error { return client.Replace(item(from)) },
		swap:      func(from *stored) error { return client.CompareAndSwap(item(from)) },
		delete:    client.Delete,
		touch:     client.Touch,
		increment: client.Increment,
		decrement: client.Decrement,
		deleteAll: client.DeleteAll,
		flushAll:  client.FlushAll,
		ping:      client.Ping,
		close:     client.Close,
		reason: reasons(map[string]error{
			"miss": grafana.ErrCacheMiss, "conflict": grafana.ErrCASConflict, "not stored": grafana.ErrNotStored,
			"bad key": grafana.ErrMalformedKey,
		}),
		kind: reflect.TypeOf(client),
		note: note,
	}
}

func dialBradfitz(note func(string), addresses ...string) *face {
	client := bradfitz.New(addresses...)
	client.Timeout = patience
	item := func(from *stored) *bradfitz.Item {
		if known, ok := from.raw.(*bradfitz.Item); ok {
			known.Value = []byte(from.value)
			return known
		}
		return &bradfitz.Item{Key: from.key, Value: []byte(from.value), Flags: from.flags, Expiration: from.seconds}
	}
	known := func(from *bradfitz.Item) *stored {
		return &stored{key: from.Key, value: string(from.Value), flags: from.Flags, raw: from}
	}
	one := func(found *bradfitz.Item, err error) (*stored, error) {
		if err != nil {
			return nil, err
		}
		return known(found), nil
	}
	return &face{
		get:         func(key string, _ int32) (*stored, error) { return one(client.Get(key)) },
		getAndTouch: func(key string, seconds int32) (*stored, error) { return one(client.GetAndTouch(key, seconds)) },
		getMulti: func(keys []string) (map[string]*stored, error) {
			return convert(known)(client.GetMulti(keys))
		},
		set:       func(from *stored) error { return client.Set(item(from)) },
		add:       func(from *stored) error { return client.Add(item(from)) },
		replace:   func(from *stored) error { return client.Replace(item(from)) },
		append:    func(from *stored) error { return client.Append(item(from)) },
		prepend:   func(from *stored) error { return client.Prepend(item(from)) },
		swap:      func(from *stored) error { return client.CompareAndSwap(item(from)) },
		delete:    client.Delete,
		touch:     client.Touch,
		increment: client.Increment,
		decrement: client.Decrement,
		deleteAll: client.DeleteAll,
		flushAll:  client.FlushAll,
		ping:      client.Ping,
		close:     func() { _ = client.Close() },
		reason: reasons(map[string]error{
			"miss": bradfitz.ErrCacheMiss, "conflict": bradfitz.ErrCASConflict, "not stored": bradfitz.ErrNotStored,
			"bad key": bradfitz.ErrMalformedKey,
		}),
		kind: reflect.TypeOf(client),
		note: note,
	}
}

func convert[Item any](known func(*Item) *stored) func(map[string]*Item, error) (map[string]*stored, error) {
	return func(found map[string]*Item, err error) (map[string]*stored, error) {
		items := map[string]*stored{}
		for key, item := range found {
			items[key] = known(item)
		}
		return items, err
	}
}

func reasons(names map[string]error) func(error) string {
	return func(err error) string {
		if err == nil {
			return ""
		}
		for name, known := range names {
			if errors.Is(err, known) {
				return name
			}
		}
		return err.Error()
	}
}
