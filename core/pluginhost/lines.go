package pluginhost

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxLine is how much of a line of a plugin's output is read; the rest of the line is dropped.
const maxLine = 64 << 10

// readLines calls each with every line of r until r ends. A line over maxLine comes cut. The bytes
// are only valid during the call. Nothing that r contains can stop it, so that the process that
// writes there never blocks on a full pipe.
func readLines(r io.Reader, each func(line []byte, cut bool)) {
	reader := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := reader.ReadSlice('\n')
		cut := errors.Is(err, bufio.ErrBufferFull)
		if len(line) > 0 {
			each(bytes.TrimRight(line, "\r\n"), cut)
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = reader.ReadSlice('\n')
		}
		if err != nil {
			return // the end, or the deadline set after the process ended
		}
	}
}
