package main

import (
	"bufio"
	"net"
	"testing"
	"time"
)

// server answers every line with `reply`; an empty one closes the connection.
func server(t *testing.T, reply string) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for lines := bufio.NewScanner(conn); lines.Scan() && reply != ""; {
					if _, err := conn.Write([]byte(reply)); err != nil {
						return
					}
				}
			}()
		}
	}()
	return listener.Addr().String()
}

func get(at string) (name, reason string) {
	made := newClient(200*time.Millisecond, func(_, far string) string { return "node at " + far })
	made.selector.set([]address{address(at)})
	_, err := made.Get("key")
	why := blame(err)
	return why.node, why.reason
}

func TestAFailureNamesItsNodeAndItsReason(t *testing.T) {
	closed := server(t, "")
	if name, reason := get(closed); name != "node at "+closed || reason != "closed" {
		t.Errorf("a closed connection: %q %q", name, reason)
	}
	refusing := server(t, "SERVER_ERROR no\r\n")
	if name, reason := get(refusing); name != "node at "+refusing || reason != "SERVER_ERROR no" {
		t.Errorf("an error: %q %q", name, reason)
	}
	silent := server(t, "VALUE key 0 10\r\n")
	if name, reason := get(silent); name != "node at "+silent || reason != "timeout" {
		t.Errorf("half an answer: %q %q", name, reason)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	nobody := listener.Addr().String()
	if name, reason := get(nobody); name != "node at "+nobody || reason != "connect: refused" {
		t.Errorf("nobody there: %q %q", name, reason)
	}
}

func TestTheBalancerDealsOutConnectionsAndClosesThoseOfANodeThatIsGone(t *testing.T) {
	first, second := server(t, "END\r\n"), server(t, "END\r\n")
	nodes := []node{{Name: "n1", Address: first}, {Name: "n2", Address: second}}
	members := newPool(nodes)
	service := newBalancer(members)
	var conns []net.Conn
	names := map[string]net.Conn{}
	for range 4 {
		conn, err := net.Dial("tcp", service.address())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		if err := exchange(conn); err != nil {
			t.Fatal(err)
		}
		names[service.nodeOf(conn.LocalAddr().String())] = conn
	}
	if len(names) != 2 {
		t.Fatalf("connections went to %v", names)
	}
	members.set(nodes[:1])
	if err := exchange(names["n1"]); err != nil {
		t.Errorf("the node that is left: %v", err)
	}
	if err := exchange(names["n2"]); err == nil {
		t.Error("the node that is gone still answers")
	}
	for _, conn := range conns {
		conn.Close()
	}
}

func exchange(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("get key\r\n")); err != nil {
		return err
	}
	_, err := bufio.NewReader(conn).ReadString('\n')
	return err
}
