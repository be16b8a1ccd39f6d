package pluginhost

import (
	"strings"
	"testing"
)

func TestFindHandshake(t *testing.T) {
	for line, want := range map[string]string{
		"1|1|unix|/run/s|grpc|Y2VydA":             "1|1|unix|/run/s|grpc|Y2VydA",
		"loading 7 of 71|1|unix|/run/s|grpc|Y2Vy": "1|1|unix|/run/s|grpc|Y2Vy",
		"1|1|unix|/run/s|grpc|Y2VydA|true":        "1|1|unix|/run/s|grpc|Y2VydA|true",
		"1|1|unix|/run/s":                         "1|1|unix|/run/s",
		"1|1|tcp|127.0.0.1:80|netrpc":             "1|1|tcp|127.0.0.1:80|netrpc",
		"1|1|unix":                                "",
		"1|1|pigeon|x|grpc":                       "",
		"hello":                                   "",
		"":                                        "",
	} {
		h, text, ok := findHandshake([]byte(line))
		if text != want || ok != (want != "") {
			t.Errorf("%q: found %q, want %q", line, text, want)
		}
		if ok && (h.core != "1" || h.protocol != "1" || h.address == "") {
			t.Errorf("%q: %+v", line, h)
		}
	}
}

func FuzzFindHandshake(f *testing.F) {
	f.Add([]byte("1|1|unix|/run/s|grpc|Y2VydA"))
	f.Add([]byte("noise 1|1|unix|/run/s|grpc|"))
	f.Add([]byte("||||||\xff"))
	f.Fuzz(func(t *testing.T, line []byte) {
		h, text, ok := findHandshake(line)
		if !ok {
			return
		}
		if !strings.Contains(string(line), text) {
			t.Errorf("%q is not in the line", text)
		}
		if h.check("/run", false) == nil && (h.certificate == "" || h.network != "unix" || !strings.HasPrefix(h.address, "/run/")) {
			t.Errorf("accepted: %+v", h)
		}
	})
}
