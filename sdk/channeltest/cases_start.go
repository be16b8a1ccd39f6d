package channeltest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"os/exec"
	"reflect"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

func handshake(ctx context.Context, s *Subject) error {
	sess, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	about := sess.about
	switch {
	case about.GetName() == "":
		return errors.New("the name in Describe is empty")
	case about.GetVersion() == "":
		return errors.New("the version in Describe is empty")
	case len(about.GetChannels()) == 0:
		return errors.New("there are no channels in Describe")
	case about.GetInstanceNonce() == "":
		return errors.New("the instance nonce in Describe is empty")
	case !slices.Contains(about.GetApiVersions(), sdk.APIVersion):
		return fmt.Errorf("the API versions %v in Describe lack %s", about.GetApiVersions(), sdk.APIVersion)
	}
	again, err := s.start(ctx)
	if err != nil {
		return fmt.Errorf("a second time: %w", err)
	}
	defer again.close()
	if again.about.GetInstanceNonce() == about.GetInstanceNonce() {
		return errors.New("two instances have the same nonce in Describe")
	}
	return nil
}

// described is what -describe prints.
type described struct {
	Name         string          `json:"name"`
	Version      string          `json:"version"`
	APIVersions  []string        `json:"api_versions"`
	Channels     []string        `json:"channels"`
	Capabilities map[string]bool `json:"capabilities"`
	ConfigSchema any             `json:"config_schema"`
}

func describeFlag(ctx context.Context, s *Subject) error {
	if err := s.needsProcess(); err != nil {
		return err
	}
	sess, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, s.Binary, "-describe")
	cmd.Env, cmd.Stderr = s.environment(), &complaint
	text, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("run it with -describe: %w: %s", err, complaint.String())
	}
	var printed described
	if err := json.Unmarshal(text, &printed); err != nil {
		return fmt.Errorf("run it with -describe: want a JSON object, got %.200q: %w", text, err)
	}
	wanted, err := descriptionOf(sess.about)
	if err != nil {
		return err
	}
	for _, part := range []struct {
		name            string
		printed, wanted any
	}{
		{"name", printed.Name, wanted.Name},
		{"version", printed.Version, wanted.Version},
		{"api_versions", printed.APIVersions, wanted.APIVersions},
		{"channels", printed.Channels, wanted.Channels},
		{"capabilities", printed.has(), wanted.has()},
		{"config_schema", printed.ConfigSchema, wanted.ConfigSchema},
	} {
		if !reflect.DeepEqual(part.printed, part.wanted) {
			return fmt.Errorf("-describe and Describe differ in %s: %v and %v", part.name, part.printed, part.wanted)
		}
	}
	return nil
}

// has lists the capabilities. One that is left out is not there: the contract grows.
func (d described) has() []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(d.Capabilities)) {
		if d.Capabilities[name] {
			names = append(names, name)
		}
	}
	return names
}

// descriptionOf is what -describe should print for an answer of Describe.
func descriptionOf(about *channelv1.DescribeResponse) (described, error) {
	c := about.GetCapabilities()
	d := described{
		Name: about.GetName(), Version: about.GetVersion(), APIVersions: about.GetApiVersions(), Channels: about.GetChannels(),
		Capabilities: map[string]bool{
			"idempotent_send": c.GetIdempotentSend(), "query": c.GetQuery(), "callback": c.GetCallback(),
			"receive": c.GetReceive(), "receipts": c.GetReceipts(), "check": c.GetCheck(),
			"exclusive_session": c.GetExclusiveSession(), "html": c.GetHtml(), "attachments": c.GetAttachments(),
			"share": c.GetShare(),
		},
	}
	if err := json.Unmarshal(about.GetConfigSchema(), &d.ConfigSchema); err != nil {
		return d, fmt.Errorf("the config schema is not JSON: %w", err)
	}
	return d, nil
}

func strangers(ctx context.Context, s *Subject) error {
	if err := s.needsProcess(); err != nil {
		return err
	}
	if s.Plaintext {
		return skipf("without TLS nothing but the folder of its socket keeps others out")
	}
	sess, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	certificate, err := selfSigned()
	if err != nil {
		return err
	}
	anybody := &tls.Config{InsecureSkipVerify: true} // whom it trusts is not the question
	impostor := &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{certificate}}
	for _, stranger := range []struct {
		name        string
		credentials credentials.TransportCredentials
	}{
		{"without TLS", insecure.NewCredentials()},
		{"without a certificate", credentials.NewTLS(anybody)},
		{"with a certificate that it made itself", credentials.NewTLS(impostor)},
	} {
		if err := sess.process.knock(ctx, stranger.credentials); err == nil {
			return fmt.Errorf("a client %s is served: let in only who has the certificate in $PLUGIN_CLIENT_CERT", stranger.name)
		}
	}
	return nil
}

// knock calls Describe over a connection of its own.
func (p *process) knock(ctx context.Context, c credentials.TransportCredentials) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	conn, err := grpc.NewClient("unix:"+p.socket(), grpc.WithTransportCredentials(c))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	_, err = channelv1.NewChannelServiceClient(conn).Describe(ctx, &channelv1.DescribeRequest{})
	return err //nolint:wrapcheck // only whether there is one matters
}

// selfSigned makes a certificate that looks like go-plugin's.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
