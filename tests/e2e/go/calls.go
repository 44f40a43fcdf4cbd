package main

// Every call of a gomemcache library, through each node in turn: written through one, read through the next. What is
// printed is told in ../calls/script.py.

import (
	"fmt"
	"sort"
	"strings"
	"time"
)

// The longest value that fits an item of 1 MiB beside its key, nearly.
const largeBytes = 1_000_000

type script struct {
	dial      func(note func(string), addresses ...string) *face
	addresses []string
	at        int
	called    map[string]bool
	checks    int
	failed    bool
	where     string
}

func makeCalls(dial func(func(string), ...string) *face, mode string, addresses []string) int {
	s := &script{dial: dial, addresses: addresses, called: map[string]bool{}}
	if mode == "flush" {
		s.tell((*script).flush)
	} else {
		s.tell((*script).expiry, (*script).values, (*script).storage, (*script).many, (*script).compareAndSwap,
			(*script).counters, (*script).ring)
		time.Sleep(2100 * time.Millisecond)
		s.tell((*script).expired)
		s.same("calls that the client offers and the script does not make", s.unmade(), "")
	}
	fmt.Printf("DONE calls=%d checks=%d\n", len(s.called), s.checks)
	if s.failed {
		return 1
	}
	return 0
}

// unmade names the methods of the library's client that were not called.
func (s *script) unmade() string {
	// Told by `flush`.
	elsewhere := map[string]bool{"FlushAll": true, "DeleteAll": true}
	kind, names := s.connect(s.addresses[0]).kind, []string{}
	for at := range kind.NumMethod() {
		if name := kind.Method(at).Name; !s.called[name] && !elsewhere[name] {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return strings.Join(names, " ")
}

func (s *script) tell(stories ...func(*script, *face, *face)) {
	for _, story := range stories {
		for s.at = range s.addresses {
			s.where = fmt.Sprintf("n%d: ", s.at+1)
			writer, reader := s.connect(s.addresses[s.at]), s.connect(s.addresses[(s.at+1)%len(s.addresses)])
			story(s, writer, reader)
			writer.note("Close")
			writer.close()
			reader.close()
		}
	}
	s.where = ""
}

func (s *script) connect(addresses ...string) *face {
	return s.dial(func(name string) { s.called[name] = true }, addresses...)
}

func (s *script) key(face *face, name string) string {
	return fmt.Sprintf("%s-%d-%s", strings.ReplaceAll(strings.Split(face.kind.Elem().PkgPath(), "/")[1], ".", "-"), s.at,
		name)
}

func (s *script) same(what string, found, wanted any) {
	s.checks++
	if fmt.Sprint(found) != fmt.Sprint(wanted) {
		s.failed = true
		fmt.Printf("FAIL %s%s: %s, not %s\n", s.where, what, shown(found), shown(wanted))
	}
}

func shown(value any) string {
	text := fmt.Sprintf("%q", fmt.Sprint(value))
	if len(text) > 200 {
		return fmt.Sprintf("%s… (%d bytes)", text[:200], len(text))
	}
	return text
}

// store makes one of the calls that take an item, by its name, and tells why not.
func (f *face) store(name, key, value string, more ...stored) string {
	item := &stored{}
	if len(more) > 0 {
		item = &more[0]
	}
	item.key, item.value = key, value
	f.note(name)
	call := map[string]func(*stored) error{
		"Set": f.set, "Add": f.add, "Replace": f.replace, "Append": f.append, "Prepend": f.prepend, "CompareAndSwap": f.swap,
	}[name]
	return f.reason(call(item))
}

// read gets a value, or the reason why there is none, in brackets.
func (f *face) read(key string) string {
	f.note("Get")
	found, err := f.get(key, 0)
	if err != nil {
		return "[" + f.reason(err) + "]"
	}
	return found.value
}

func (f *face) count(name, key string, delta uint64) string {
	f.note(name)
	call := f.increment
	if name == "Decrement" {
		call = f.decrement
	}
	number, err := call(key, delta)
	if err != nil {
		return "[" + f.reason(err) + "]"
	}
	return fmt.Sprint(number)
}

func (f *face) done(name string, call func() error) string {
	f.note(name)
	return f.reason(call())
}

func (s *script) values(writer, reader *face) {
	every := make([]byte, largeBytes)
	for at := range every {
		every[at] = byte(at)
	}
	for name, value := range map[string]string{
		"small": "v", "empty": "", "crlf": "a\r\nEND\r\nb", "large": string(every), "högh": "bytes",
	} {
		s.same("Set "+name, writer.store("Set", s.key(writer, name), value), "")
		s.same("Get "+name, reader.read(s.key(writer, name)), value)
	}
	s.same("Set with flags", writer.store("Set", s.key(writer, "flags"), "x", stored{flags: 4_294_967_295}), "")
	if found, err := reader.get(s.key(writer, "flags"), 0); err != nil || found.flags != 4_294_967_295 {
		s.same("its flags", fmt.Sprint(found, err), "4294967295")
	}
	s.same("Get of a missing key", reader.read(s.key(writer, "missing")), "[miss]")
	s.same("a key that is none", writer.store("Set", "a b", "x"), "bad key")
	longest := s.key(writer, strings.Repeat("k", 230))
	s.same("a long key", writer.store("Set", longest, "x"), "")
	s.same("read again", reader.read(longest), "x")
	s.same("Ping", writer.done("Ping", writer.ping), "")
}

func (s *script) storage(writer, reader *face) {
	key, missing := s.key(writer, "add"), s.key(writer, "missing")
	s.same("Add", writer.store("Add", key, "1"), "")
	s.same("Add again", reader.store("Add", key, "2"), "not stored")
	s.same("Replace", reader.store("Replace", key, "3"), "")
	s.same("Replace of nothing", writer.store("Replace", missing, "3"), "not stored")
	if writer.append != nil {
		s.same("Append", writer.store("Append", key, "4"), "")
		s.same("Append to nothing", writer.store("Append", missing, "4"), "not stored")
		s.same("Prepend", reader.store("Prepend", key, "2"), "")
		s.same("Prepend to nothing", reader.store("Prepend", missing, "2"), "not stored")
		s.same("both are there", writer.read(key), "234")
	}
	s.same("Delete", writer.done("Delete", func() error { return writer.delete(key) }), "")
	s.same("it is gone", reader.read(key), "[miss]")
	s.same("Delete of nothing", writer.done("Delete", func() error { return writer.delete(key) }), "miss")
}

func (s *script) many(writer, reader *face) {
	keys, wanted := []string{s.key(writer, "absent")}, map[string]string{}
	for number := range batchKeys {
		key := s.key(writer, fmt.Sprint("many-", number))
		keys, wanted[key] = append(keys, key), fmt.Sprint("value ", number)
		s.same("Set", writer.store("Set", key, wanted[key]), "")
	}
	s.sameMany("GetMulti", reader, keys, wanted)
	s.sameMany("GetMulti of nothing", reader, keys[:1], map[string]string{})
}

func (s *script) sameMany(what string, reader *face, keys []string, wanted map[string]string) {
	reader.note("GetMulti")
	found, err := reader.getMulti(keys)
	values := map[string]string{}
	for key, item := range found {
		values[key] = item.value
	}
	s.same(what+" has no error", err, nil)
	s.same(what, values, wanted)
}

func (s *script) compareAndSwap(writer, reader *face) {
	key := s.key(writer, "cas")
	writer.store("Set", key, "a")
	first, err := reader.get(key, 0)
	s.same("Get with a token", err, nil)
	second, err := writer.get(key, 0)
	s.same("Get with a token, again", err, nil)
	if first == nil || second == nil {
		return
	}
	s.same("CompareAndSwap", writer.store("CompareAndSwap", key, "b", *first), "")
	s.same("CompareAndSwap again", reader.store("CompareAndSwap", key, "c", *second), "conflict")
	s.same("it holds", reader.read(key), "b")
	third, _ := reader.get(key, 0)
	writer.done("Delete", func() error { return writer.delete(key) })
	// Both libraries say `miss` for NOT_FOUND.
	s.same("CompareAndSwap of nothing", writer.store("CompareAndSwap", key, "d", *third), "miss")
}

func (s *script) counters(writer, reader *face) {
	key, missing := s.key(writer, "n"), s.key(writer, "missing")
	writer.store("Set", key, "10")
	s.same("Increment", writer.count("Increment", key, 5), 15)
	s.same("Decrement", reader.count("Decrement", key, 6), 9)
	s.same("padded", writer.read(key), "9 ")
	s.same("below zero", reader.count("Decrement", key, 100), 0)
	writer.store("Set", key, "18446744073709551615")
	s.same("wraps", reader.count("Increment", key, 2), 1)
	s.same("Increment of nothing", writer.count("Increment", missing, 1), "[miss]")
	s.same("Decrement of nothing", writer.count("Decrement", missing, 1), "[miss]")
	writer.store("Set", key, "word")
	refused := "[memcache: client error: cannot increment or decrement non-numeric value]"
	s.same("Increment of a word", writer.count("Increment", key, 1), refused)
}

func (s *script) expiry(writer, reader *face) {
	short, kept := s.key(writer, "short"), s.key(writer, "kept")
	s.same("a second to live", writer.store("Set", short, "x", stored{seconds: 1}), "")
	s.same("a hundred", writer.store("Set", kept, "x", stored{seconds: 100}), "")
	s.same("gone at once", writer.store("Set", s.key(writer, "past"), "x", stored{seconds: -1}), "")
	s.same("it is", reader.read(s.key(writer, "past")), "[miss]")
	s.same("Touch", reader.done("Touch", func() error { return reader.touch(kept, 1000) }), "")
	missing := s.key(writer, "missing")
	s.same("Touch of nothing", reader.done("Touch", func() error { return reader.touch(missing, 1) }), "miss")
	if reader.getAndTouch == nil {
		return
	}
	reader.note("GetAndTouch")
	found, err := reader.getAndTouch(kept, 1)
	s.same("GetAndTouch", reader.reason(err), "")
	if found != nil {
		s.same("its value", found.value, "x")
	}
	_, err = writer.getAndTouch(missing, 1)
	s.same("GetAndTouch of nothing", writer.reason(err), "miss")
}

func (s *script) expired(writer, reader *face) {
	s.same("after more than a second", reader.read(s.key(writer, "short")), "[miss]")
	if reader.getAndTouch != nil {
		s.same("after GetAndTouch", reader.read(s.key(writer, "kept")), "[miss]")
	}
}

// ring lets the library spread keys over all nodes; then every node answers for every key.
func (s *script) ring(writer, _ *face) {
	all := s.connect(s.addresses...)
	defer all.close()
	keys, wanted := []string{}, map[string]string{}
	for number := range batchKeys {
		key := s.key(writer, fmt.Sprint("ring-", number))
		keys, wanted[key] = append(keys, key), fmt.Sprint(number)
		s.same("Set", all.store("Set", key, wanted[key]), "")
	}
	s.sameMany("GetMulti over all nodes", all, keys, wanted)
	s.sameMany("one node has them all", writer, keys, wanted)
	s.same("Ping of each", all.done("Ping", all.ping), "")
}

func (s *script) flush(writer, reader *face) {
	key := s.key(writer, "flushed")
	writer.store("Set", key, "x")
	s.same("FlushAll", reader.done("FlushAll", reader.flushAll), "")
	s.same("it is gone", writer.read(key), "[miss]")
	// DeleteAll is `flush_all` by another name.
	writer.store("Set", key, "x")
	s.same("DeleteAll", writer.done("DeleteAll", writer.deleteAll), "")
	s.same("it is gone", reader.read(key), "[miss]")
}
