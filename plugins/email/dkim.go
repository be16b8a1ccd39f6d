package main

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/textproto"
	"regexp"
	"strings"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/pigeonry/pigeonry/sdk"
)

// dkimConfig is one key that mails are signed with (RFC 6376; Ed25519 as in RFC 8463).
type dkimConfig struct {
	Domain   string     `cfg:"domain" doc:"Domain that vouches for the mail. Default: that of the sender, as DMARC wants it."`
	Selector string     `cfg:"selector,required" doc:"Name of the key: receivers look for it at <selector>._domainkey.<domain>."`
	Key      sdk.Secret `cfg:"key,required" doc:"Private key (PEM): RSA of 2048 bits, or Ed25519, e.g. file(\"dkim.pem\")."`
}

// minRSABits is what RFC 8301 section 3.2 asks of a signer at least; it recommends 2048.
const minRSABits = 1024

// selectorForm is that of RFC 6376 section 3.1.
var selectorForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$`)

// newSigners reads the keys. An error names its field.
func newSigners(keys []dkimConfig, sender string) ([]dkim.SignOptions, error) {
	var out []dkim.SignOptions
	var errs []error
	for i, k := range keys {
		field := func(name string) string { return fmt.Sprintf("dkim[%d].%s", i, name) }
		domain, err := asciiDomain(orElse(k.Domain, sender))
		if err != nil || strings.HasPrefix(domain, "[") {
			errs = append(errs, sdk.FieldError(field("domain"), "is no domain", "write it as example.com"))
		}
		if !selectorForm.MatchString(k.Selector) || len(k.Selector)+len(domain) > 230 {
			errs = append(errs, sdk.FieldError(field("selector"), "is no name of a key", "write it as 2026a: letters, digits, dashes"))
		}
		key, err := parseKey([]byte(k.Key.Reveal()))
		if err != nil {
			errs = append(errs, sdk.FieldError(field("key"), err.Error(), `give the PEM text of an RSA or Ed25519 key, e.g. file("dkim.pem")`))
		}
		out = append(out, dkim.SignOptions{
			Domain: domain, Selector: k.Selector, Signer: key,
			HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
		})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return out, nil
}

// parseKey reads a private key in PKCS #8 or, for RSA, PKCS #1. Errors do not quote it.
func parseKey(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("holds no PEM text")
	}
	var key any
	var err error
	if block.Type == "RSA PRIVATE KEY" {
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	} else {
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, fmt.Errorf("holds a %.40q that cannot be read as a private key without a passphrase", block.Type)
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if bits := key.N.BitLen(); bits < minRSABits {
			return nil, fmt.Errorf("has %d bits, which receivers do not accept", bits)
		}
		return key, nil
	case ed25519.PrivateKey:
		return key, nil
	default:
		return nil, errors.New("is neither an RSA nor an Ed25519 key")
	}
}

// signedHeaders are those that say who, what and when (RFC 6376 section 5.4.1), and those of RFC 8058 section 4, which
// count only where they are signed. One more of the first few is signed than there is, so that none can be added.
var (
	oversigned    = []string{"From", "To", "Subject", "Date", "Reply-To"}
	signedHeaders = []string{
		"From", "To", "Subject", "Date", "Reply-To", "Message-Id", "In-Reply-To", "References",
		"Mime-Version", "Content-Type", "Content-Transfer-Encoding",
		"List-Id", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Help", "List-Archive", "Feedback-Id", "Auto-Submitted",
	}
)

// sign puts a signature of each key before a mail.
func sign(raw []byte, signers []dkim.SignOptions) ([]byte, error) {
	if len(signers) == 0 {
		return raw, nil
	}
	keys := headersToSign(raw)
	var out bytes.Buffer
	for i := range signers {
		options := signers[i] // a copy: mails are signed at the same time
		options.HeaderKeys = keys
		signer, err := dkim.NewSigner(&options)
		if err != nil {
			return nil, fmt.Errorf("sign with %s: %w", options.Selector, err)
		}
		_, err = signer.Write(raw)
		if err = errors.Join(err, signer.Close()); err != nil {
			return nil, fmt.Errorf("sign with %s: %w", options.Selector, err)
		}
		out.WriteString(signer.Signature())
	}
	out.Write(raw)
	return out.Bytes(), nil
}

// headersToSign lists the headers of a mail that are signed, as h= has them.
func headersToSign(raw []byte) []string {
	header, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	present := map[string]int{}
	for line := range bytes.SplitSeq(header, []byte("\r\n")) {
		if name, _, ok := bytes.Cut(line, []byte(":")); ok && line[0] != ' ' && line[0] != '\t' {
			present[textproto.CanonicalMIMEHeaderKey(string(name))]++
		}
	}
	var keys []string
	for _, name := range signedHeaders {
		for range present[name] {
			keys = append(keys, name)
		}
	}
	return append(keys, oversigned...)
}

// orElse is the first of two texts that is not empty.
func orElse(text, otherwise string) string {
	if text != "" {
		return text
	}
	return otherwise
}
