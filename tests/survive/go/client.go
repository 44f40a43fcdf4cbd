package main

// A memcached client that says which node failed it, and why. gomemcache's errors do not, and it takes a connection
// closed in the middle of a get for the end of the reply, that is for a miss: here that is a failure.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/grafana/gomemcache/memcache"
)

// Connections that a client keeps to an address: Grafana's default.
const idleConnections = 100

// nodeError is a failure that one node is the reason of.
type nodeError struct {
	node   string
	reason string
	// opened is when the connection was, if there was one. gomemcache keeps connections that nobody looks after: one that
	// ended with its node may be found out, and fail an operation, long after.
	opened time.Time
}

func (e *nodeError) Error() string { return fmt.Sprintf("%s: %s", e.node, e.reason) }

// client is one process of a query tier.
type client struct {
	*memcache.Client
	selector *selector
}

// newClient makes one whose failures are laid at nodeOf of a connection's two ends; before there is a connection,
// the near end is empty.
func newClient(timeout time.Duration, nodeOf func(near, far string) string) *client {
	made := &client{selector: &selector{}}
	made.Client = memcache.NewFromSelector(made.selector)
	made.Timeout, made.ConnectTimeout = timeout, timeout
	made.MaxIdleConns, made.MinIdleConnsHeadroomPercentage = idleConnections, -1
	made.DialTimeout = func(network, far string, timeout time.Duration) (net.Conn, error) {
		conn, err := net.DialTimeout(network, far, timeout)
		if err != nil {
			return nil, &nodeError{node: nodeOf("", far), reason: "connect: " + reasonOf(err)}
		}
		near := conn.LocalAddr().String()
		return &attributed{conn, time.Now(), func() string { return nodeOf(near, far) }}, nil
	}
	return made
}

// attributed is a connection whose failures name the node.
type attributed struct {
	net.Conn
	opened time.Time
	node   func() string
}

func (c *attributed) blamed(reason string) error { return &nodeError{c.node(), reason, c.opened} }

func (c *attributed) Read(into []byte) (int, error) {
	length, err := c.Conn.Read(into)
	if err != nil {
		return length, c.blamed(reasonOf(err))
	}
	// One request is under way on a connection, so an error starts what is read, and gomemcache would take it for one too.
	if refusal := into[:length]; bytes.HasPrefix(refusal, []byte("SERVER_ERROR")) {
		return 0, c.blamed(strings.TrimSpace(string(refusal)))
	}
	return length, nil
}

func (c *attributed) Write(from []byte) (int, error) {
	length, err := c.Conn.Write(from)
	if err != nil {
		return length, c.blamed(reasonOf(err))
	}
	return length, nil
}

// reasonOf is a word or two, so that failures can be counted by it.
func reasonOf(err error) string {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), isTimeout(err):
		return "timeout"
	case errors.Is(err, io.EOF):
		return "closed"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	}
	return err.Error()
}

func isTimeout(err error) bool {
	var timed net.Error
	return errors.As(err, &timed) && timed.Timeout()
}

// blame finds the failure of a node in an error of gomemcache, or makes one of nobody.
func blame(err error) *nodeError {
	var known *nodeError
	if errors.As(err, &known) {
		return known
	}
	return &nodeError{reason: reasonOf(err)}
}
