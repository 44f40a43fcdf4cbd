// The part of the end-to-end test that speaks through grafana/gomemcache.
//
//	e2e-go verify ADDRESS MANIFEST   reads every key of the manifest, singly and in batches of 100, and compares bytes
//	e2e-go agent ADDRESS             runs one command a line of standard input (JSON), for stories told from Python
//	e2e-go incr ADDRESS,… KEY GOROUTINES EACH   adds 1 to a key, from many goroutines over many nodes
//	e2e-go grafana|bradfitz calls|flush ADDRESS…   makes every call of grafana/gomemcache or of bradfitz/gomemcache
//
// An error of the client is a failure, with its text: gomemcache drops the connection at an answer it does not expect.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/grafana/gomemcache/memcache"
)

const usage = "usage: e2e-go verify|agent|incr ADDRESS …, or e2e-go grafana|bradfitz calls|flush ADDRESS…"

func main() {
	if len(os.Args) < 3 {
		fail(usage)
	}
	var err error
	switch arguments := os.Args[3:]; {
	case os.Args[1] == "verify" && len(arguments) == 1:
		err = verify(dial(os.Args[2]), arguments[0])
	case os.Args[1] == "agent" && len(arguments) == 0:
		err = agent(dial(os.Args[2]), os.Stdin, os.Stdout)
	case os.Args[1] == "incr" && len(arguments) == 3:
		err = incr(strings.Split(os.Args[2], ","), arguments[0], number(arguments[1]), number(arguments[2]))
	case os.Args[1] == "grafana" && len(arguments) > 0:
		os.Exit(makeCalls(dialGrafana, os.Args[2], arguments))
	case os.Args[1] == "bradfitz" && len(arguments) > 0:
		os.Exit(makeCalls(dialBradfitz, os.Args[2], arguments))
	default:
		fail(usage)
	}
	if err != nil {
		fail(err.Error())
	}
}

// dial makes a client of one node, patient enough that slowness shows in figures and not as failures.
func dial(address string) *memcache.Client {
	client := memcache.New(address)
	client.Timeout = 10 * time.Second
	client.ConnectTimeout = 10 * time.Second
	client.MaxIdleConns = 16
	return client
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	if err != nil {
		fail(fmt.Sprintf("not a number: %s", text))
	}
	return value
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}
