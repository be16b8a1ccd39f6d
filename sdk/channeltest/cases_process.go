package channeltest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

// orphanTimeout is how long a plugin may outlive its gateway.
const orphanTimeout = 5 * time.Second

func drainRequest(deadline time.Duration) *channelv1.DrainRequest {
	return &channelv1.DrainRequest{Deadline: durationpb.New(deadline), Reason: "channeltest"}
}

// needsProcess skips what cannot be done to a plugin within this process.
func (s *Subject) needsProcess() error {
	if s.Binary == "" {
		return skipf("it needs the plugin as a process, see Suite.Binary")
	}
	return nil
}

func signals(ctx context.Context, s *Subject) error {
	if err := s.needsProcess(); err != nil {
		return err
	}
	sess, err := s.ready(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		if err := sess.process.signal(sig); err != nil {
			return fmt.Errorf("send %s: %w", sig, err)
		}
		// The signal comes while the plugin works, or just before: both must be survived.
		for range 5 {
			if err := sess.accepted(ctx, sess.items(2)...); err != nil {
				return fmt.Errorf("after %s: %w", sig, err)
			}
		}
	}
	return sess.drain(ctx)
}

func endsWhenAsked(ctx context.Context, s *Subject) error {
	if err := s.needsProcess(); err != nil {
		return err
	}
	sess, err := s.ready(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	if err := sess.accepted(ctx, sess.items(1)...); err != nil {
		return err
	}
	if err := sess.drain(ctx); err != nil {
		return err
	}
	sess.close()
	if err := sess.process.ending(); err != nil {
		return fmt.Errorf("after Drain and Shutdown of plugin.GRPCController: %w", err)
	}
	return nil
}

func killed(ctx context.Context, s *Subject) error {
	if err := s.needsProcess(); err != nil {
		return err
	}
	sess, err := s.ready(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	d, err := sess.inFlight(ctx)
	if err != nil {
		return err
	}
	known := len(d.results)
	sess.process.kill()
	ended := make(chan error, 1)
	go func() { ended <- d.rest() }()
	select {
	case err = <-ended:
	case <-time.After(answerTimeout):
		return fmt.Errorf("call Deliver: it still waits %s after the plugin was killed", answerTimeout)
	}
	switch {
	case errors.Is(err, errRepeated):
		return err
	case err == nil && len(d.results) < len(d.items):
		return fmt.Errorf("call Deliver: it ended well with %d of %d results", len(d.results), len(d.items))
	case len(d.results) < known:
		return errors.New("results that had arrived are lost")
	}
	s.Note("killed with %d of %d results reported", len(d.results), len(d.items))
	after, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if _, err := sess.send(after, sess.items(1)...); err == nil {
		return errors.New("a killed plugin still delivers")
	}
	return nil
}

func orphan(ctx context.Context, s *Subject) error {
	if err := s.needsProcess(); err != nil {
		return err
	}
	sess, err := s.startOrphan()
	if err != nil {
		return err
	}
	defer sess.close()
	if _, err := sess.Describe(ctx, &channelv1.DescribeRequest{}); err != nil {
		return fmt.Errorf("call Describe: %w", err)
	}
	began := time.Now()
	sess.process.abandon()
	select {
	case <-sess.process.gone():
		s.Note("gone after %s", time.Since(began).Round(10*time.Millisecond))
		return nil
	case <-time.After(orphanTimeout):
		return fmt.Errorf("it still runs %s after its parent was killed: it must watch its parent's process id", orphanTimeout)
	}
}

func noise(ctx context.Context, s *Subject) error {
	if err := s.needsProcess(); err != nil {
		return err
	}
	sess, err := s.ready(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	if before := sess.process.noise(); len(before) > 0 {
		s.Note("printed to the standard output before the handshake; the gateway skips it, others may not: %q", before)
	}
	if s.Noisy == nil {
		return sess.accepted(ctx, sess.items(1)...)
	}
	for range 4 { // more than a pipe holds
		if err := sess.accepted(ctx, sess.items(1, s.Noisy)...); err != nil {
			return fmt.Errorf("printing to the standard output: %w", err)
		}
	}
	return sess.accepted(ctx, sess.items(1)...)
}

func longLines(ctx context.Context, s *Subject) error {
	if err := s.needsProcess(); err != nil {
		return err
	}
	if s.Noisy == nil {
		return skipf("Suite.Noisy is not set")
	}
	sess, err := s.ready(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	const line = 64 << 10
	before := s.output.bytes()
	if err := sess.accepted(ctx, sess.items(1, s.Noisy)...); err != nil {
		return fmt.Errorf("printing a long line: %w", err)
	}
	if err := sess.accepted(ctx, sess.items(1)...); err != nil {
		return fmt.Errorf("after a long line: %w", err)
	}
	for began := time.Now(); s.output.bytes()-before < line; {
		if time.Since(began) > answerTimeout {
			return fmt.Errorf("of a line of %d bytes only %d came out: Suite.Noisy must print it", line, s.output.bytes()-before)
		}
		if err := sess.accepted(ctx, sess.items(1)...); err != nil {
			return fmt.Errorf("after a long line: %w", err)
		}
	}
	return nil
}

// secrets provokes errors that might quote a secret, then searches all that the plugin has printed
// and answered since the first case.
func secrets(ctx context.Context, s *Subject) error {
	sess, err := s.ready(ctx)
	if err != nil {
		return err
	}
	all := append(secretValues(sess.about.GetConfigSchema(), s.Config), s.Secrets...)
	if len(all) == 0 {
		sess.close()
		return skipf("neither the config nor Suite.Secrets holds a secret")
	}
	for _, change := range []func(*channelv1.Item){s.Fails, s.Panics, s.Noisy} {
		if change != nil {
			_, _ = sess.send(ctx, sess.items(1, change)...) // the outcome is another case's
		}
	}
	for _, b := range derived(s.Config, sess.about.GetConfigSchema()) {
		_, _ = sess.validate(ctx, b.Config)
		_ = sess.configure(ctx, 2, b.Config)
	}
	resp, err := sess.Check(ctx, &channelv1.CheckRequest{Connector: sess.connector})
	if sess.saw(err) == nil {
		sess.heard(resp)
	}
	sess.close() // whatever was still on its way out is read now
	printed := s.output.all()
	for _, secret := range all {
		for _, form := range disclosing(secret) {
			if line := lineWith(printed, form); line != "" {
				return fmt.Errorf("a secret of the config is in the output, as it is or as JSON, a URL or base64 write it: %q",
					strings.ReplaceAll(line, form, "<the secret>"))
			}
		}
	}
	return nil
}

// shortestForm is the length from which a form of a secret says more than an ordinary word would.
const shortestForm = 4

// disclosing lists the forms of a secret that must not show up. The lines around a key are no secret.
func disclosing(secret string) []string {
	forms := []string{secret}
	for _, form := range sdk.Secret(secret).Forms() {
		if len(form) >= shortestForm && !strings.HasPrefix(form, "-----") && !slices.Contains(forms, form) {
			forms = append(forms, form)
		}
	}
	return forms
}

func lineWith(text, secret string) string {
	for line := range strings.Lines(text) {
		if at := strings.Index(line, secret); at >= 0 {
			from, to := max(0, at-200), min(len(line), at+len(secret)+200)
			return strings.TrimSpace(line[from:to])
		}
	}
	return ""
}
