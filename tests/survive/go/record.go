package main

// What became of every operation, by the second in which it was due, small enough to be kept for a whole story.

import (
	"math"
	"math/bits"
	"strconv"
	"sync"
	"time"
)

// Kinds of operations.
const (
	kindGet = iota
	kindSet
	kindBatch
	kinds
)

var kindNames = [kinds]string{"get", "set", "batch"}

// Steps of a histogram between one power of two of microseconds and the next: a step is 3 %.
const steps = 32

// Failures are kept apart by this much time, and what was answered is counted by this much.
const (
	failureStep = 10 * time.Millisecond
	answerStep  = 100 * time.Millisecond
)

// second is what became of the operations of one kind that were due in one second.
type second struct {
	Due      int `json:"due"`
	Answered int `json:"answered"`
	Hits     int `json:"hits"`
	Misses   int `json:"misses"`
	// Waits counts, for each step of a histogram, how many waited that long, answered or not.
	Waits map[string]int `json:"waits"`
}

// failure is what failures must have in common to be counted together; times are counted in failureStep.
type failure struct {
	at           int
	kind         string
	node, reason string
	// opened is when the connection was, connectionless if there was none.
	opened int
}

const connectionless = math.MinInt

type recorder struct {
	sync.Mutex
	start    time.Time
	seconds  [kinds][]*second
	failures map[failure]int
	answers  []int
}

func newRecorder() *recorder { return &recorder{failures: map[failure]int{}} }

// due counts an operation that begins.
func (r *recorder) due(kind int, due time.Time) {
	r.Lock()
	defer r.Unlock()
	r.second(kind, due).Due++
}

// ended counts one that has ended: with so many hits and misses, or with an error.
func (r *recorder) ended(kind int, due time.Time, hits, misses int, err error) {
	now := time.Now()
	r.Lock()
	defer r.Unlock()
	within := r.second(kind, due)
	within.Waits[strconv.Itoa(step(now.Sub(due)))]++
	if err != nil {
		why, opened := blame(err), connectionless
		if !why.opened.IsZero() {
			opened = r.at(why.opened)
		}
		r.failures[failure{r.at(due), kindNames[kind], why.node, why.reason, opened}]++
		return
	}
	within.Answered++
	within.Hits += hits
	within.Misses += misses
	at := int(now.Sub(r.start) / answerStep)
	for len(r.answers) <= at {
		r.answers = append(r.answers, 0)
	}
	r.answers[at]++
}

func (r *recorder) second(kind int, due time.Time) *second {
	at := int(due.Sub(r.start) / time.Second)
	for len(r.seconds[kind]) <= at {
		r.seconds[kind] = append(r.seconds[kind], &second{Waits: map[string]int{}})
	}
	return r.seconds[kind][at]
}

// at counts the time since the start.
func (r *recorder) at(moment time.Time) int { return int(moment.Sub(r.start) / failureStep) }

// step numbers the waits: below `steps` microseconds each has its own, above there are `steps` to a doubling.
func step(wait time.Duration) int {
	micros := uint64(wait.Microseconds())
	if micros < steps {
		return int(micros)
	}
	doublings := bits.Len64(micros) - bits.Len64(steps)
	return doublings*steps + int(micros>>doublings)
}

// told is all of it, for the driver.
func (r *recorder) told() map[string]any {
	r.Lock()
	defer r.Unlock()
	failures := []map[string]any{}
	for what, count := range r.failures {
		told := map[string]any{
			"at": float64(what.at) * failureStep.Seconds(), "kind": what.kind, "node": what.node, "reason": what.reason,
			"count": count, "opened": nil,
		}
		if what.opened != connectionless {
			told["opened"] = float64(what.opened) * failureStep.Seconds()
		}
		failures = append(failures, told)
	}
	seconds := map[string][]*second{}
	for kind, name := range kindNames {
		seconds[name] = r.seconds[kind]
	}
	return map[string]any{
		"said": "record", "start": unixSeconds(r.start), "steps": steps, "seconds": seconds, "failures": failures,
		"answers": r.answers, "answer_step": answerStep.Seconds(),
	}
}
