package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRunPrintsItsAddressesAndStops(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		args := []string{"-smtp", "127.0.0.1:0", "-smpp", "127.0.0.1:0", "-http", "127.0.0.1:0", "-print-addresses", "-quiet"}
		err := run(ctx, args, in, io.Discard)
		_ = in.CloseWithError(err)
		ended <- err
	}()
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var at sandbox.Addresses
	if err := json.Unmarshal(line, &at); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.HTTP+"/healthz", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	answer, err := (&http.Client{Timeout: 20 * time.Second}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	stop()
	if err := <-ended; err != nil {
		t.Errorf("run ended with %v", err)
	}
}

func TestRunRefusesWhatItDoesNotUnderstand(t *testing.T) {
	tests := map[string][]string{
		"unknown argument":          {"serve"},
		"flag provided but not def": {"-port", "5"},
		"listen on nowhere":         {"-smtp", "nowhere"},
	}
	for want, args := range tests {
		err := run(t.Context(), args, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v gives %v, want %q", args, err, want)
		}
	}
	if err := run(t.Context(), []string{"-help"}, io.Discard, io.Discard); err != nil {
		t.Errorf("-help gives %v", err)
	}
}
