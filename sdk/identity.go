package sdk

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// clientCertVariable is where a plugin finds the certificate of its only client, as go-plugin's AutoMTLS has it.
const clientCertVariable = "PLUGIN_CLIENT_CERT"

// peerName is the name that both sides' certificates are made out to.
const peerName = "localhost"

// ClientIdentity makes what a gateway, or a test in its place, shows one process of a plugin and no other: the variable
// of the process's environment that holds the certificate, and the TLS settings for the connection, which go-plugin
// completes with the certificate that the plugin answers with. It takes the place of go-plugin's AutoMTLS, whose
// certificates are on the curve P-521: the TLS libraries of several languages refuse that. The error says that the
// machine's source of random numbers failed.
func ClientIdentity() (variable string, settings *tls.Config, err error) {
	certificate, err := newCertificate()
	if err != nil {
		return "", nil, err
	}
	settings = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12, ServerName: peerName}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})
	return clientCertVariable + "=" + string(text), settings, nil
}

// serverIdentity makes what a plugin shows the client whose certificate it was given: its TLS settings, and its
// certificate as it stands in the handshake line. It takes the place of go-plugin's AutoMTLS as well: a key on P-521
// costs the start of a process more than all the rest of the connection.
func serverIdentity(client string) (settings *tls.Config, line string, err error) {
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM([]byte(client)) {
		return nil, "", errors.New("read the certificate of the client: it is none")
	}
	certificate, err := newCertificate()
	if err != nil {
		return nil, "", err
	}
	settings = &tls.Config{
		Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAndVerifyClientCert,
		ClientCAs: clients, RootCAs: clients, MinVersion: tls.VersionTLS12, ServerName: peerName,
	}
	return settings, base64.RawStdEncoding.EncodeToString(certificate.Certificate[0]), nil
}

// newCertificate makes a key, and the certificate by which it is known.
func newCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a key for a plugin: %w", err)
	}
	number, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("number a certificate for a plugin: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: number, Subject: pkix.Name{CommonName: peerName, Organization: []string{"Pigeonry"}}, DNSNames: []string{peerName},
		NotBefore: now.Add(-time.Minute), NotAfter: now.AddDate(30, 0, 0), // as long as a process may run
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		IsCA:        true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate for a plugin: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
