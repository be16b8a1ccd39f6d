package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-bench/engine"
)

// subject is what is under load: a gateway that takes the requests, and others on the same engines where there
// are some. Behind each is a null plugin.
type subject struct {
	*gateway
	workers []*gateway

	dir     string
	bin     string
	ledger  string // of the channel "null"
	keep    bool
	engines *fleet
}

// start runs the built gateway in a folder of its own, on the engines given, which it owns from now on.
func start(ctx context.Context, o options, f *fleet, what setup) (*subject, error) {
	bin, err := binaries(o)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pigeonry-bench-")
	if err != nil {
		return nil, err
	}
	s := &subject{dir: dir, bin: bin, ledger: ledgerOf(dir, "null"), keep: o.keep, engines: f}
	if err := installVersions(what.plugins(dir, bin), bin, what.versions); err != nil {
		return s, err
	}
	s.gateway, err = s.launch(ctx, "gateway", what)
	return s, err
}

// stop ends the gateways, then their engines, and removes the folders.
func (s *subject) stop() error {
	gateways := append([]*gateway{s.gateway}, s.workers...)
	errs := make([]error, len(gateways))
	var wg sync.WaitGroup
	for i, g := range gateways {
		wg.Go(func() { errs[i] = g.stop() })
	}
	wg.Wait()
	err := errors.Join(errors.Join(errs...), s.engines.stop(s.keep))
	if s.keep {
		fmt.Fprintln(os.Stderr, "kept:", s.dir)
		return err
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// rss is the resident memory of the gateway, and of it with its plugins, in MB.
func (s *subject) rss() (gateway, all float64) {
	gateway = residentMB(s.command.Process.Pid)
	all = gateway
	for _, pid := range engine.Descendants(s.command.Process.Pid) {
		all += residentMB(pid)
	}
	return gateway, all
}

func residentMB(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmRSS:")); ok {
			kb, _ := strconv.ParseFloat(string(bytes.Fields(rest)[0]), 64)
			return kb / 1024
		}
	}
	return 0
}

// entry is one message that the null plugin got.
type entry struct {
	record int64
	at     time.Time
}

// entrySize is the size of an entry in the ledger: two little-endian integers, the record id and the
// time in nanoseconds.
const entrySize = 16

// received counts the ledger without reading it.
func (s *subject) received() int { return countEntries(s.ledger) }

func countEntries(file string) int {
	info, err := os.Stat(file)
	if err != nil {
		return 0
	}
	return int(info.Size() / entrySize)
}

func (s *subject) readLedger() ([]entry, error) {
	b, err := os.ReadFile(s.ledger)
	if err != nil {
		return nil, err
	}
	entries := make([]entry, len(b)/entrySize)
	for i := range entries {
		e := b[i*entrySize:]
		entries[i] = entry{
			record: int64(binary.LittleEndian.Uint64(e)),
			at:     time.Unix(0, int64(binary.LittleEndian.Uint64(e[8:]))),
		}
	}
	return entries, nil
}

// arrivals tells when each message was at the plugin for the first time, and how many came again.
func (s *subject) arrivals() (first map[int64]time.Time, doubles int, err error) {
	entries, err := s.readLedger()
	if err != nil {
		return nil, 0, err
	}
	first = make(map[int64]time.Time, len(entries))
	for _, e := range entries {
		if _, double := first[e.record]; double {
			doubles++
			continue
		}
		first[e.record] = e.at
	}
	return first, doubles, nil
}

// awaitReceived waits until the plugin has got n messages, or none has come for a while.
func (s *subject) awaitReceived(ctx context.Context, n int) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last, lastChange := -1, time.Now()
	for {
		got := s.received()
		if got >= n {
			return nil
		}
		if got != last {
			last, lastChange = got, time.Now()
		}
		if time.Since(lastChange) > 15*time.Second {
			return fmt.Errorf("the plugin got %d of %d messages and then none for 15 s\n%s", got, n, s.logTail())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func binaries(o options) (string, error) {
	if o.bin != "" {
		return filepath.Abs(o.bin)
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	return filepath.Dir(self), nil
}
