package engine

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
)

// journal is the log of an engine, which its programs write to, and where in it this start began.
type journal struct {
	*os.File
	began int64
}

func openJournal(path string) (*journal, error) {
	file, err := os.OpenFile(filepath.Clean(path), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	began, err := file.Seek(0, io.SeekEnd)
	return &journal{File: file, began: began}, err
}

// tail is the end of what was written since the start began: 20 lines, 4 KB at most.
func (j *journal) tail() string {
	const most = 4096
	size, err := j.Seek(0, io.SeekEnd)
	if err != nil {
		return err.Error()
	}
	b := make([]byte, min(most, size-j.began))
	n, _ := j.ReadAt(b, size-int64(len(b))) // what can be read of it
	lines := bytes.Split(bytes.TrimSpace(b[:n]), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-20):], []byte("\n")))
}
