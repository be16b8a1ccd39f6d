package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// What surely never reached the provider is retryable; what may have, is uncertain.
func TestNetwork(t *testing.T) {
	for name, c := range map[string]struct {
		then   http.HandlerFunc
		config settings
		want   string
	}{
		"no answer in time": {
			then:   silent,
			config: settings{"timeout": "2s"}, want: "uncertain timeout  provider",
		},
		"hung up": {
			then: func(w http.ResponseWriter, _ *http.Request) {
				conn, _, _ := w.(http.Hijacker).Hijack()
				_ = conn.Close()
			},
			want: "uncertain uncertain  provider",
		},
		"hung up within the answer": {
			then: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "100")
				says(200, "short")(w, nil)
			},
			want: "uncertain uncertain  provider",
		},
		"hung up within a refusal": {
			then: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "100")
				says(400, "short")(w, nil)
			},
			want: "rejected http_status 400 message",
		},
		"a redirect": {
			then: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "https://example.com/")
				w.WriteHeader(http.StatusTemporaryRedirect)
			},
			want: "rejected http_status 307 config",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := provide(t, c.then)
			conn := connect(t, with(settings{"url": p.URL + "/?key={{.secrets.key}}", "secrets": settings{"key": "s3cret/ & key"}}, c.config))
			_, err := conn.Send(t.Context(), message())
			if told(err) != c.want || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got %s, want %s: %v", told(err), c.want, err)
			}
		})
	}
	for name, url := range map[string]string{
		"nobody listens":    "http://" + deadAddress(t),
		"no TLS there":      "https://" + strings.TrimPrefix(provide(t, nil).URL, "http://"),
		"no such host":      "https://nobody.invalid/",
		"unknown authority": secure(t, nil).URL,
	} {
		_, err := connect(t, settings{"url": url}).Send(t.Context(), message())
		if want := "retryable connect_failed  provider"; told(err) != want {
			t.Errorf("%s: got %s, want %s: %v", name, told(err), want, err)
		}
	}
}

// silent gives no answer before the client is gone.
func silent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// deadAddress is one where nobody listens.
func deadAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// secure starts a provider that speaks TLS.
func secure(t *testing.T, edit func(*httptest.Server)) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(says(200, "ok"))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	s.EnableHTTP2 = true
	if edit != nil {
		edit(s)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// A certificate of an authority that the config names is good.
func TestTLS(t *testing.T) {
	s := secure(t, nil)
	conn := connect(t, settings{"url": s.URL, "tls_ca": pemOf("CERTIFICATE", s.Certificate().Raw)})
	if _, err := conn.Send(t.Context(), message()); err != nil {
		t.Error(err)
	}
	if err := conn.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := connect(t, settings{"url": s.URL}).Check(t.Context()); told(err) != "retryable connect_failed  provider" {
		t.Errorf("an unknown authority: %v", err)
	}
}

// clientPair makes a certificate and its key.
func clientPair(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf("CERTIFICATE", der), pemOf("PRIVATE KEY", pkcs8)
}

// The provider may ask for a certificate.
func TestClientCertificate(t *testing.T) {
	var saw atomic.Int64
	s := secure(t, func(s *httptest.Server) {
		s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
		s.Config.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { saw.Store(int64(len(r.TLS.PeerCertificates))) })
	})
	cert, key := clientPair(t)
	conn := connect(t, settings{
		"url": s.URL, "tls_ca": pemOf("CERTIFICATE", s.Certificate().Raw), "tls_cert": cert, "tls_key": key,
	})
	if _, err := conn.Send(t.Context(), message()); err != nil || saw.Load() != 1 {
		t.Errorf("%d certificates, %v", saw.Load(), err)
	}
}

// net/http must not repeat what the provider may have taken, neither a GET nor what has an idempotency
// key: nobody would know that it went out twice.
func TestNoHiddenRepeat(t *testing.T) {
	for name, config := range map[string]settings{
		"GET":                {"method": "GET"},
		"an idempotency key": {"idempotency_header": "Idempotency-Key"},
		"POST":               {},
	} {
		t.Run(name, func(t *testing.T) {
			address, requests := forgetful(t)
			conn := connect(t, with(config, settings{"url": "http://" + address}))
			if _, err := conn.Send(t.Context(), message()); err != nil {
				t.Fatal(err)
			}
			_, err := conn.Send(t.Context(), message()) // over the same connection
			if told(err) != "uncertain uncertain  provider" || requests.Load() != 2 {
				t.Errorf("got %s after %d requests: %v", told(err), requests.Load(), err)
			}
		})
	}
}

// forgetful is a server that answers the first request of a connection, reads the second and hangs up.
func forgetful(t *testing.T) (address string, requests *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	requests = &atomic.Int64{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serveOnce(conn, requests)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String(), requests
}

func serveOnce(conn net.Conn, requests *atomic.Int64) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	r := bufio.NewReader(conn)
	for i := range 2 {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		requests.Add(1)
		if i == 0 {
			fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	}
}

// A check reaches the provider with the credentials, and sends no message.
func TestCheck(t *testing.T) {
	results := settings{"code": "errcode", "results": []settings{
		{"codes": []string{"0"}, "outcome": "accepted"}, {"codes": []string{"40001"}, "outcome": "rejected", "code": "auth_failed", "fault": "config"},
	}}
	for name, c := range map[string]struct {
		status int
		body   string
		answer settings
		want   string
	}{
		"well":                    {200, "", nil, "accepted"},
		"refused":                 {401, "no, s3cret%20key%26, dTpwYXNzd29yZA==", nil, "rejected auth_failed 401 config"},
		"down":                    {500, "", nil, "uncertain http_status 500 provider"},
		"well by its code":        {200, `{"errcode":0}`, results, "accepted"},
		"well with another shape": {200, `[1]`, results, "accepted"},
		"refused by its code":     {200, `{"errcode":40001}`, results, "rejected auth_failed 40001 config"},
		"a page":                  {200, `<html>`, results, "accepted"},
	} {
		t.Run(name, func(t *testing.T) {
			p := provide(t, says(c.status, c.body))
			config := settings{
				"url": p.URL + "/send/{{.recipient}}", "check_url": p.URL + "/me?key={{.secrets.key}}", "secrets": settings{"key": "s3cret key&"},
				"auth": settings{"username": "u", "password": "password"}, "headers": settings{"X-To": "{{.recipient}}"},
			}
			if c.answer != nil {
				config["answer"] = c.answer
			}
			err := connect(t, config).Check(t.Context())
			if told(err) != c.want || err != nil && (strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "dTpw")) {
				t.Errorf("got %s, want %s: %v", told(err), c.want, err)
			}
			got := p.last(t)
			if got.method != "GET" || got.uri != "/me?key=s3cret%20key%26" || got.header.Get("Authorization") == "" || got.header.Get("X-To") != "" {
				t.Errorf("got %+v", got)
			}
		})
	}
	p := provide(t, nil)
	if err := connect(t, settings{"url": p.URL}).Check(t.Context()); err != nil || len(p.all()) > 0 {
		t.Errorf("without check_url: %v, %d requests", err, len(p.all()))
	}
	dead := "http://" + deadAddress(t)
	for _, config := range []settings{{"url": dead}, {"url": dead, "check_url": dead}} {
		if err := connect(t, config).Check(t.Context()); told(err) != "retryable connect_failed  provider" {
			t.Errorf("nobody listens: %v", err)
		}
	}
}

// The proxy of the environment is what a check connects to.
func TestReachThroughProxy(t *testing.T) {
	p := provide(t, nil)
	c, err := newClient(&config{ConnectTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	c.transport.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(p.URL) }
	if err := c.reach(t.Context(), &url.URL{Scheme: "https", Host: "nobody.invalid"}); err != nil {
		t.Error(err)
	}
}

// The end of the gateway's patience counts as well as the connector's own.
func TestDeadline(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := provide(t, func(w http.ResponseWriter, r *http.Request) {
		cancel() // the request has arrived
		silent(w, r)
	})
	if _, err := connect(t, settings{"url": p.URL}).Send(ctx, message()); told(err) != "uncertain timeout  provider" {
		t.Errorf("got %v", err)
	}
}
