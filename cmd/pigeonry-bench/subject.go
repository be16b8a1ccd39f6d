package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-bench/engine"
)

const apiKey = "pigeonry-bench-0123456789abcdef0123456789"

// subject is a gateway under load: a process of its own with a null plugin behind it.
type subject struct {
	dir     string
	address string
	command *exec.Cmd
	exited  chan error
	ledger  string
	keep    bool
	engines *fleet
}

// start runs the built gateway in a folder of its own, on the engines given, which it owns from now on.
// Settings go into its connector block.
func start(ctx context.Context, o options, f *fleet, settings string) (*subject, error) {
	bin, err := binaries(o)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pigeonry-bench-")
	if err != nil {
		return nil, err
	}
	s := &subject{dir: dir, ledger: filepath.Join(dir, "ledger"), exited: make(chan error, 1), keep: o.keep, engines: f}
	if s.address, err = freeAddress(); err != nil {
		return nil, err
	}
	config := fmt.Sprintf(`listen = %q
data_dir = %q
plugins { dir = %q }
connector "null" "main" {
  plugin = "null"
  %s
  config { ledger = %q }
}
log { level = "warn" }
`, s.address, filepath.Join(dir, "data"), filepath.Join(bin, "examples", "plugins"), settings, s.ledger)
	file := filepath.Join(dir, "gateway.hcl")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	return s, s.launch(ctx, filepath.Join(bin, "pigeonry"), file)
}

func (s *subject) launch(ctx context.Context, binary, file string) error {
	log, err := os.Create(filepath.Join(s.dir, "gateway.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	s.command = exec.Command(binary, "serve", "-c", file)
	s.command.Env = append(foreign(), "PIGEONRY_BOOTSTRAP_KEY="+apiKey)
	s.command.Env = append(s.command.Env, s.engines.gatewayEnvironment()...)
	s.command.Stdout, s.command.Stderr = log, log
	if err := s.command.Start(); err != nil {
		return fmt.Errorf("start the gateway: %w; build it with: make build", err)
	}
	go func() { s.exited <- s.command.Wait() }()
	return s.awaitReady(ctx)
}

func (s *subject) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address+"/readyz", http.NoBody)
		if err != nil {
			return err
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case err := <-s.exited:
			s.exited <- err
			return fmt.Errorf("the gateway ended before it was ready: %w\n%s", err, s.logTail())
		case <-ctx.Done():
			return fmt.Errorf("the gateway was not ready in time\n%s", s.logTail())
		}
	}
}

func (s *subject) logTail() string {
	b, _ := os.ReadFile(filepath.Join(s.dir, "gateway.log"))
	return string(b[max(0, len(b)-2000):])
}

// stop ends the gateway as an operator would, then its engines, and removes the folders.
func (s *subject) stop() error {
	var err error
	if s.command != nil && s.command.Process != nil {
		err = s.command.Process.Signal(syscall.SIGTERM)
		select {
		case exit := <-s.exited:
			err = errors.Join(err, exit)
		case <-time.After(20 * time.Second):
			err = errors.Join(errors.New("the gateway did not stop in time"), s.command.Process.Kill())
		}
	}
	err = errors.Join(err, s.engines.stop(s.keep))
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
func (s *subject) received() int {
	info, err := os.Stat(s.ledger)
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

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
