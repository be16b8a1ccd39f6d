package sandbox

import (
	"testing"
	"unicode/utf8"

	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
)

func FuzzReadLetter(f *testing.F) {
	f.Add([]byte("Subject: x\r\n\r\nhi"))
	f.Add([]byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--"))
	f.Add([]byte("Content-Type: text/html; charset=gb2312\r\nContent-Transfer-Encoding: base64\r\n\r\nxOO6ww=="))
	f.Add([]byte("Content-Type: multipart/mixed; boundary=\r\n\r\n--"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		l, err := readLetter(raw)
		if err != nil {
			return
		}
		if !utf8.ValidString(l.text) || !utf8.ValidString(l.html) {
			t.Errorf("%q gives text that is no UTF-8", raw)
		}
	})
}

func FuzzReadPart(f *testing.F) {
	f.Add(byte(0x40), byte(8), []byte{5, 0, 3, 1, 2, 1, 0x4f, 0x60})
	f.Add(byte(0x40), byte(0), []byte{6, 8, 4, 0, 1, 2, 2, 'h', 'i'})
	f.Add(byte(0), byte(0), []byte("x\x1b"))
	f.Add(byte(0x40), byte(0), []byte{255})
	f.Fuzz(func(t *testing.T, class, coding byte, payload []byte) {
		p := readPart(&smpp.ShortMessage{ESMClass: class, DataCoding: coding, Message: payload})
		if !utf8.ValidString(p.text) {
			t.Errorf("%x gives text that is no UTF-8", payload)
		}
		if p.total != 0 && (p.number < 1 || p.number > p.total) {
			t.Errorf("%x gives part %d of %d", payload, p.number, p.total)
		}
	})
}
