package sandbox

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"strconv"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/charset"
)

// Headers in which the e-mail plugin says which message and which attempt a mail is.
const (
	headerReference = "X-Pigeonry-Id"
	headerAttempt   = "X-Pigeonry-Attempt"
)

// maxMultipartDepth bounds how deep parts may lie in parts.
const maxMultipartDepth = 10

// letter is a mail as a recipient's program would show it.
type letter struct {
	from, subject, text, html     string
	messageID, reference, attempt string
	attachments                   []Attachment
	sawText, sawHTML              bool
}

// readLetter parses a mail (RFC 5322, MIME).
func readLetter(raw []byte) (*letter, error) {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("parse mail header: %w", err)
	}
	l := &letter{
		from:      decodeHeader(m.Header.Get("From")),
		subject:   decodeHeader(m.Header.Get("Subject")),
		messageID: strings.Trim(m.Header.Get("Message-Id"), "<> "),
		reference: m.Header.Get(headerReference),
		attempt:   m.Header.Get(headerAttempt),
	}
	if err := l.part(textproto.MIMEHeader(m.Header), m.Body, 0); err != nil {
		return nil, err
	}
	if !l.sawText && l.sawHTML {
		l.text = htmlWords(l.html)
	}
	return l, nil
}

// attemptNumber is the number of the attempt, 0 if the mail does not tell.
func (l *letter) attemptNumber() int {
	n, err := strconv.Atoi(l.attempt)
	if err != nil {
		return 0
	}
	return n
}

// part reads one MIME entity into the letter.
func (l *letter) part(header textproto.MIMEHeader, body io.Reader, depth int) error {
	mediaType, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		mediaType, params = "text/plain", nil
	}
	if strings.HasPrefix(mediaType, "multipart/") {
		return l.multipart(body, params["boundary"], depth)
	}
	content, err := io.ReadAll(transferDecoder(header.Get("Content-Transfer-Encoding"), body))
	if err != nil {
		return fmt.Errorf("decode part %s: %w", mediaType, err)
	}
	disposition, dispositionParams, _ := mime.ParseMediaType(header.Get("Content-Disposition"))
	switch {
	case disposition != "attachment" && mediaType == "text/plain" && !l.sawText:
		l.text, l.sawText = decodeCharset(content, params["charset"]), true
	case disposition != "attachment" && mediaType == "text/html" && !l.sawHTML:
		l.html, l.sawHTML = decodeCharset(content, params["charset"]), true
	default:
		name := dispositionParams["filename"]
		if name == "" {
			name = params["name"]
		}
		l.attachments = append(l.attachments, Attachment{
			Name: decodeHeader(name), ContentType: mediaType, Size: int64(len(content)),
			ContentID: strings.Trim(header.Get("Content-Id"), "<> "),
		})
	}
	return nil
}

func (l *letter) multipart(body io.Reader, boundary string, depth int) error {
	if depth >= maxMultipartDepth {
		return errors.New("parts of the mail lie too deep in each other")
	}
	parts := multipart.NewReader(body, boundary)
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read parts of the mail: %w", err)
		}
		if err := l.part(part.Header, part, depth+1); err != nil {
			return err
		}
	}
}

func transferDecoder(encoding string, body io.Reader) io.Reader {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		return quotedprintable.NewReader(body)
	default:
		return body
	}
}

// decodeHeader decodes the encoded words of RFC 2047; what cannot be decoded stays as it is.
func decodeHeader(s string) string {
	decoder := mime.WordDecoder{CharsetReader: charset.NewReaderLabel}
	decoded, err := decoder.DecodeHeader(s)
	if err != nil {
		return s
	}
	return decoded
}

// decodeCharset turns text into UTF-8 with bare line feeds; an unknown charset is taken as UTF-8.
func decodeCharset(content []byte, label string) string {
	if label != "" && !strings.EqualFold(label, "utf-8") {
		if r, err := charset.NewReaderLabel(label, bytes.NewReader(content)); err == nil {
			if decoded, err := io.ReadAll(r); err == nil {
				content = decoded
			}
		}
	}
	text := strings.ToValidUTF8(string(content), "\uFFFD")
	return strings.TrimSuffix(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
}

// htmlWords returns the visible words of an HTML document, one space between them.
func htmlWords(document string) string {
	var words []string
	hidden := 0
	tokens := html.NewTokenizer(strings.NewReader(document))
	for {
		kind := tokens.Next()
		switch kind { // the others hold no words
		case html.ErrorToken: // the end, also of a broken document
			return strings.Join(words, " ")
		case html.TextToken:
			if hidden == 0 {
				words = append(words, strings.Fields(html.UnescapeString(string(tokens.Raw())))...)
			}
		case html.StartTagToken, html.EndTagToken:
			name, _ := tokens.TagName()
			if tag := string(name); tag != "style" && tag != "script" && tag != "title" {
				continue
			}
			if kind == html.StartTagToken {
				hidden++
			} else {
				hidden = max(0, hidden-1)
			}
		}
	}
}
