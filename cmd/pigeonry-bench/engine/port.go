package engine

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// ports is a range to choose from. Each engine has its own, so that engines that are made together never
// choose the same port. All lie below the ports that the system gives to outgoing connections: while an
// engine is down, a client that dials its port again and again could otherwise be given just that port,
// be connected to itself, and keep the engine from coming back.
type ports struct{ first, count int }

// choose finds free ports of 127.0.0.1. They stay free only if nobody else takes them.
func (r ports) choose(n int) ([]int, error) {
	var chosen []int
	start := rand.IntN(r.count)
	for i := range r.count {
		port := r.first + (start+i)%r.count
		if free(port) {
			chosen = append(chosen, port)
		}
		if len(chosen) == n {
			return chosen, nil
		}
	}
	return nil, fmt.Errorf("no port is free from %d to %d", r.first, r.first+r.count-1)
}

func free(port int) bool {
	listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return false
	}
	listener.Close()
	return true
}
