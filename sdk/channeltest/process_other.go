//go:build !unix

package channeltest

import (
	"errors"
	"os"
)

// errPlatform is why Suite.Binary fails here.
var errPlatform = errors.New("testing an executable needs a Unix system")

// process stands for the plugin as a child process, which this platform does not offer.
type process struct{}

func (s *Subject) startBinary() (*session, error) { return nil, errPlatform }
func (s *Subject) startOrphan() (*session, error) { return nil, errPlatform }

func (p *process) signal(os.Signal) error { return errPlatform }
func (p *process) kill()                  {}
func (p *process) abandon()               {}
func (p *process) noise() []string        { return nil }
func (p *process) socket() string         { return "" }
func (p *process) ending() error          { return errPlatform }
func (p *process) gone() <-chan struct{}  { return nil }
