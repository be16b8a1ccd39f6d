package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// ledger is a file of all that arrived: two little-endian integers for each message, its id and the time
// in nanoseconds. One write a batch keeps it cheap enough to watch a benchmark with. A nil ledger keeps
// nothing.
type ledger struct{ file *os.File }

func openLedger(path string) (*ledger, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // no ledger was asked for, and a nil one works
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, sdk.FieldError("ledger", "cannot be opened", err.Error())
	}
	return &ledger{file}, nil
}

func (l *ledger) note(ms []*sdk.Message) error {
	if l == nil {
		return nil
	}
	now := uint64(time.Now().UnixNano())
	b := make([]byte, 0, 16*len(ms))
	for _, m := range ms {
		id, err := strconv.ParseUint(m.ID, 10, 64)
		if err != nil {
			return fmt.Errorf("message id %q: %w", m.ID, err)
		}
		b = binary.LittleEndian.AppendUint64(b, id)
		b = binary.LittleEndian.AppendUint64(b, now)
	}
	_, err := l.file.Write(b)
	return err
}

func (l *ledger) close() error {
	if l == nil {
		return nil
	}
	return l.file.Close()
}
