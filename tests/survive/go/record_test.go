package main

import (
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
)

func TestStepsAreContiguousAndThreePerCentWide(t *testing.T) {
	for micros, last := 0, -1; micros < 1<<20; micros++ {
		found := step(time.Duration(micros) * time.Microsecond)
		if found != last && found != last+1 {
			t.Fatalf("%d µs is in step %d, the wait before in %d", micros, found, last)
		}
		last = found
	}
	for micros, wanted := range map[int]int{0: 0, 31: 31, 63: 63, 64: 64, 65: 64, 127: 95, 1000: 190} {
		if found := step(time.Duration(micros) * time.Microsecond); found != wanted {
			t.Errorf("%d µs: step %d, not %d", micros, found, wanted)
		}
	}
}

func TestFailuresAreCountedByTheSecondInWhichTheyWereDue(t *testing.T) {
	r := newRecorder()
	r.start = time.Now().Add(-3 * time.Second)
	due := r.start.Add(1500 * time.Millisecond)
	r.due(kindGet, due)
	r.ended(kindGet, due, 0, 0, &nodeError{"n2", "timeout", r.start.Add(-time.Second)})
	if count := r.failures[failure{150, "get", "n2", "timeout", -100}]; count != 1 {
		t.Errorf("counted %d times: %v", count, r.failures)
	}
	if cell := r.seconds[kindGet][1]; cell.Due != 1 || cell.Answered != 0 || len(cell.Waits) != 1 {
		t.Errorf("second 1 has %+v", cell)
	}
}

func TestAnswersAreCountedWhenTheyCome(t *testing.T) {
	r := newRecorder()
	r.start = time.Now().Add(-3 * time.Second)
	due := r.start.Add(1500 * time.Millisecond)
	r.due(kindBatch, due)
	r.ended(kindBatch, due, 7, 3, nil)
	if cell := r.seconds[kindBatch][1]; cell.Answered != 1 || cell.Hits != 7 || cell.Misses != 3 {
		t.Errorf("second 1 has %+v", cell)
	}
	if len(r.answers) < 30 || r.answers[len(r.answers)-1] != 1 {
		t.Errorf("answers %v", r.answers)
	}
}

func TestAServerMoreTakesItsShareOfTheKeysAndMovesNoOther(t *testing.T) {
	moved := 0
	for number := range 100_000 {
		key := xxhash.Sum64([]byte{byte(number), byte(number >> 8), byte(number >> 16)})
		before, after := jump(key, 3), jump(key, 4)
		if before != after {
			moved++
			if after != 3 {
				t.Fatalf("key %d went from %d to %d", number, before, after)
			}
		}
	}
	if moved < 24_000 || moved > 26_000 {
		t.Errorf("%d of 100,000 keys moved", moved)
	}
}

func TestJumpIsThatOfThePaper(t *testing.T) {
	for _, wanted := range []struct {
		key     uint64
		buckets int
		bucket  int
	}{{1, 1, 0}, {42, 57, 43}, {0xDEAD10CC, 1, 0}, {0xDEAD10CC, 666, 361}, {256, 1024, 520}} {
		if found := jump(wanted.key, wanted.buckets); found != wanted.bucket {
			t.Errorf("%d of %d: %d, not %d", wanted.key, wanted.buckets, found, wanted.bucket)
		}
	}
}
