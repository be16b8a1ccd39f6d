package api

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/pigeonry/pigeonry/core"
)

// Limits of a body, in bytes after decompression.
const (
	maxBody      = 1 << 20
	maxBatchBody = 16 << 20
	maxCallback  = 256 << 10
	// firstBuffer is set aside for a body before any of it has come, whatever its announced length.
	firstBuffer = 64 << 10
)

// jsonBody reads a JSON body of at most limit bytes, decompressed if it has to be.
func jsonBody(c *gin.Context, limit int) ([]byte, error) {
	if err := checkContentType(c.Request.Header["Content-Type"]); err != nil {
		return nil, err
	}
	switch encoding := c.GetHeader("Content-Encoding"); encoding {
	case "", "identity":
		return plainBody(c, limit)
	case "gzip":
		return gzipBody(c, limit)
	default:
		return nil, unsupported("Content-Encoding", fmt.Sprintf("%q is not understood; send the body plain or with gzip", shorten(encoding)))
	}
}

func checkContentType(values []string) error {
	const remedy = "send the header \"Content-Type: application/json\""
	if len(values) == 1 && values[0] == "application/json" {
		return nil // nearly always
	}
	if len(values) != 1 {
		return unsupported("Content-Type", "is missing or given twice; "+remedy)
	}
	kind, parameters, err := mime.ParseMediaType(values[0])
	if err != nil || kind != "application/json" {
		return unsupported("Content-Type", "is not JSON; "+remedy)
	}
	if charset, ok := parameters["charset"]; ok && !isUTF8(charset) {
		return unsupported("Content-Type", "names another charset than UTF-8; "+remedy)
	}
	return nil
}

func isUTF8(charset string) bool {
	return strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "utf8")
}

func unsupported(field, reason string) error {
	return &core.Error{
		Kind: core.KindInvalid, Code: core.CodeUnsupportedType, Message: describe(field, reason),
		Fields: []core.FieldError{{Field: field, Reason: reason}},
	}
}

// plainBody reads a body as it comes.
func plainBody(c *gin.Context, limit int) ([]byte, error) {
	if c.Request.ContentLength > int64(limit) {
		return nil, tooLarge(limit)
	}
	size := min(int64(firstBuffer), max(c.Request.ContentLength, 0)+bytes.MinRead)
	return drain(http.MaxBytesReader(c.Writer, c.Request.Body, int64(limit)), int(size), limit)
}

// gzipBody counts what comes out, so that a small body cannot become a huge one, and bounds what goes in.
func gzipBody(c *gin.Context, limit int) ([]byte, error) {
	compressed := http.MaxBytesReader(c.Writer, c.Request.Body, int64(limit))
	r, err := gzip.NewReader(compressed)
	if err != nil {
		return nil, bodyError(err, limit)
	}
	return drain(io.LimitReader(r, int64(limit)+1), firstBuffer, limit)
}

func drain(r io.Reader, size, limit int) ([]byte, error) {
	buffer := bytes.NewBuffer(make([]byte, 0, size))
	if _, err := buffer.ReadFrom(r); err != nil {
		return nil, bodyError(err, limit)
	}
	if buffer.Len() > limit {
		return nil, tooLarge(limit)
	}
	return buffer.Bytes(), nil
}

// bodyError tells apart why a body could not be read.
func bodyError(err error, limit int) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge(limit)
	}
	reason := "ended early or could not be read; send all of it"
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) {
		reason = "is not gzip as Content-Encoding says, or is damaged"
	}
	return &core.Error{Kind: core.KindInvalid, Code: core.CodeMalformed, Message: "the body " + reason, Cause: err}
}

func tooLarge(limit int) error {
	return &core.Error{
		Kind: core.KindTooLarge, Code: core.CodeTooLarge,
		Message: fmt.Sprintf("the body is over the limit of %d bytes, counted after decompression; send less at a time", limit),
	}
}

// shorten keeps what a caller sent from filling an answer or a log.
func shorten(s string) string {
	const most = 100
	if len(s) <= most {
		return s
	}
	return string([]rune(s[:most])) + "…"
}
