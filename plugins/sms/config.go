package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/aliyun"
	"github.com/pigeonry/pigeonry/plugins/sms/segment"
	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
	"github.com/pigeonry/pigeonry/plugins/sms/tencent"
	"github.com/pigeonry/pigeonry/plugins/sms/twilio"
	"github.com/pigeonry/pigeonry/sdk"
)

// config of a connector. It goes to one provider: to an SMSC over SMPP, or to the one whose block is there.
type config struct {
	Aliyun  *aliyun.Config  `cfg:"aliyun" doc:"Sends through Alibaba Cloud SMS, in place of SMPP."`
	Tencent *tencent.Config `cfg:"tencent" doc:"Sends through Tencent Cloud SMS, in place of SMPP."`
	Twilio  *twilio.Config  `cfg:"twilio" doc:"Sends through Twilio, in place of SMPP."`

	// All the rest is of SMPP, which is spoken where no other provider is given.

	Host string `cfg:"host" doc:"Name or address of the SMS center (SMSC). Needed for SMPP."`
	Port int    `cfg:"port,default=2775,min=1,max=65535" doc:"Port of the SMSC: 2775 in clear, 3550 over TLS, unless the provider says otherwise."`

	TLS           string `cfg:"tls,default=none,enum=none|tls" doc:"How the connection is protected. tls: TLS from the first byte; none: in clear, as SMPP is over a VPN."`
	TLSServerName string `cfg:"tls_server_name" doc:"Name in the server's certificate, where it is not the host."`
	TLSCA         string `cfg:"tls_ca" doc:"Certificates (PEM) of the authorities to trust instead of the system's, e.g. file(\"ca.pem\")."`
	TLSInsecure   bool   `cfg:"tls_insecure" doc:"Takes any certificate. Never outside tests."`

	SystemID     string     `cfg:"system_id,max=15" doc:"User name of the bind. Needed for SMPP."`
	Password     sdk.Secret `cfg:"password,max=64" doc:"Password of the bind. SMPP allows 8 characters; some providers give longer ones."`
	SystemType   string     `cfg:"system_type,max=12" doc:"Kind of client, where the provider asks for it, e.g. SMPP."`
	AddressRange string     `cfg:"address_range,max=40" doc:"Addresses whose messages the bind receives, where the provider asks for it."`

	BindMode string `cfg:"bind_mode,default=transceiver,enum=transceiver|pair|transmitter" doc:"transceiver: one connection for both directions; pair: a transmitter and a receiver; transmitter: sends only, so that neither receipts nor inbound messages come."`
	Binds    int    `cfg:"binds,default=1,min=1,max=32" doc:"Binds at a time. The provider says how many it allows; with pair each counts twice."`
	Window   int    `cfg:"window,default=10,min=1,max=1000" doc:"Submits a bind may have unanswered. The provider says how many it allows."`

	Source    string `cfg:"source,max=20" doc:"Sender: a number with its country code, a short code, or a name of up to 11 characters. Empty: the provider sets it. A message overrides it with the attribute sender."`
	SourceTON int    `cfg:"source_ton,default=-1,min=-1,max=6" doc:"Type of number of the sender. -1: 5 for a name, 3 for a short code, 1 for other numbers."`
	SourceNPI int    `cfg:"source_npi,default=-1,min=-1,max=18" doc:"Numbering plan of the sender. -1: 1 for numbers with a country code, else 0."`
	DestTON   int    `cfg:"dest_ton,default=1,min=0,max=6" doc:"Type of number of recipients: 1 is international."`
	DestNPI   int    `cfg:"dest_npi,default=1,min=0,max=18" doc:"Numbering plan of recipients: 1 is E.164."`

	ServiceType        string            `cfg:"service_type,max=5" doc:"Service type, where the provider asks for it."`
	RegisteredDelivery int               `cfg:"registered_delivery,default=1,min=0,max=31" doc:"Receipts to ask for: 1 always, 2 on failure only, 0 none; plus 16 for notices on the way."`
	Alphabet           string            `cfg:"alphabet,default=gsm7,enum=gsm7|latin1" doc:"How the SMSC wants texts of the GSM alphabet: gsm7 unpacked, or latin1 where it converts them itself."`
	DataCoding         int               `cfg:"data_coding,default=0,min=0,max=255" doc:"data_coding of such texts. Other texts are UCS-2, data_coding 8."`
	MaxParts           int               `cfg:"max_parts,default=10,min=1,max=255" doc:"Parts a long text may have. Longer ones are refused, as each part is billed."`
	Validity           bool              `cfg:"validity" doc:"Tells the SMSC to give up when the message expires (validity_period). Some providers refuse short spans."`
	MessageReference   bool              `cfg:"message_reference" doc:"Sends user_message_reference: the lowest 16 bits of the message's number, the same in every attempt. Some providers refuse the parameter."`
	ReceiptID          string            `cfg:"receipt_id,default=as_is,enum=as_is|lower|hex_to_dec|dec_to_hex" doc:"How message ids in receipts differ from those in submit answers. lower: in case; hex_to_dec: receipts write in hexadecimal what answers write in decimal; dec_to_hex: the other way round."`
	ReceiptZone        string            `cfg:"receipt_zone" doc:"Time zone of the dates in receipts, e.g. Asia/Shanghai. Empty: the time of arrival counts."`
	Statuses           map[string]string `cfg:"statuses" doc:"What the provider's own answers mean, by number: rejected, retryable or throttled, e.g. { \"0x450\" = \"rejected\" }. Those of SMPP are known, and can be overridden."`

	ConnectTimeout  time.Duration `cfg:"connect_timeout,default=10s,min=1ms,max=5m" doc:"How long connecting and binding may take."`
	ResponseTimeout time.Duration `cfg:"response_timeout,default=10s,min=1ms,max=5m" doc:"How long the SMSC may take for an answer. What it does not answer is uncertain."`
	EnquireLink     time.Duration `cfg:"enquire_link,default=30s,min=1s,max=1h" doc:"After how much silence of the SMSC to ask whether it is still there."`
	ThrottleBackoff time.Duration `cfg:"throttle_backoff,default=1s,min=1ms,max=1m" doc:"How long to pause when the SMSC says that we are too fast. The window is halved as well and grows back with each success."`
}

// Values of config.BindMode and config.ReceiptID.
const (
	bindPair        = "pair"
	bindTransmitter = "transmitter"
	idLower         = "lower"
	idHexToDec      = "hex_to_dec"
	idDecToHex      = "dec_to_hex"
)

// validate checks what the tags cannot say.
func validate(c config) error {
	blocks := c.blocks()
	switch len(blocks) {
	case 0:
		return validateSMPP(c)
	case 1:
		return errors.Join(append(blocks[0].validate(), c.smppFields(blocks[0].name)...)...)
	default:
		return sdk.FieldError(blocks[1].name, "stands beside "+blocks[0].name, "a connector goes to one provider: make a connector of each")
	}
}

// block is the config of a provider other than SMPP.
type block struct {
	name     string
	validate func() []error
	open     func() sdk.Sender
}

// blocks are those that the config has.
func (c config) blocks() (blocks []block) {
	if p := c.Aliyun; p != nil {
		blocks = append(blocks, block{
			name:     "aliyun",
			validate: func() []error { return p.Validate("aliyun") },
			open:     func() sdk.Sender { return aliyun.Open(*p) },
		})
	}
	if p := c.Tencent; p != nil {
		blocks = append(blocks, block{
			name:     "tencent",
			validate: func() []error { return p.Validate("tencent") },
			open:     func() sdk.Sender { return tencent.Open(*p) },
		})
	}
	if p := c.Twilio; p != nil {
		blocks = append(blocks, block{
			name:     "twilio",
			validate: func() []error { return p.Validate("twilio") },
			open:     func() sdk.Sender { return twilio.Open(*p) },
		})
	}
	return blocks
}

// smppFields refuses what only SMPP would read beside the block of another provider.
func (c config) smppFields(provider string) (errs []error) {
	for field, given := range map[string]bool{
		"host": c.Host != "", "system_id": c.SystemID != "", "password": c.Password != "", "source": c.Source != "",
	} {
		if given {
			errs = append(errs, sdk.FieldError(field, "is of SMPP, and stands beside "+provider, "leave out the one or the other"))
		}
	}
	return errs
}

// validateSMPP checks the fields of SMPP.
func validateSMPP(c config) error {
	var errs []error
	for field, value := range map[string]string{"host": c.Host, "system_id": c.SystemID} {
		if value == "" {
			errs = append(errs, sdk.FieldError(field, "is required", "SMPP needs it; for another provider write its block: aliyun, tencent or twilio"))
		}
	}
	check := func(field string, err error, remedy string) {
		if err != nil {
			errs = append(errs, sdk.FieldError(field, err.Error(), remedy))
		}
	}
	if strings.ContainsAny(c.Host, " /\r\n\x00") || strings.Count(c.Host, ":") == 1 {
		check("host", fmt.Errorf("%q is no host", c.Host), "write the name alone, e.g. smpp.example.com; the port has its own field")
	}
	for field, text := range map[string]string{
		"system_id": c.SystemID, "password": c.Password.Reveal(), "system_type": c.SystemType,
		"address_range": c.AddressRange, "service_type": c.ServiceType,
	} {
		check(field, printable(text), "use printable ASCII characters")
	}
	if c.Source != "" {
		_, err := c.sender(c.Source)
		check("source", err, "write +8613800138000, 12345 or Shop")
	}
	if c.TLSCA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(c.TLSCA)) {
		check("tls_ca", errors.New("holds no certificate"), `give the PEM text itself, e.g. file("ca.pem")`)
	}
	if _, err := time.LoadLocation(c.ReceiptZone); err != nil {
		check("receipt_zone", fmt.Errorf("%q is no time zone", c.ReceiptZone), "write it as Asia/Shanghai")
	}
	_, err := newStatusTable(c.Statuses)
	return errors.Join(append(errs, err)...)
}

// printable refuses what would not survive in a C-Octet String.
func printable(text string) error {
	for _, r := range text {
		if r < ' ' || r > '~' {
			return fmt.Errorf("contains the character %q", r)
		}
	}
	return nil
}

func (c config) addr() string { return net.JoinHostPort(c.Host, strconv.Itoa(c.Port)) }

func (c config) alphabet() segment.Alphabet {
	if c.Alphabet == "latin1" {
		return segment.Latin1
	}
	return segment.GSM7
}

// modes are the binds that make one unit of config.Binds.
func (c config) modes() []smpp.Mode {
	switch c.BindMode {
	case bindPair:
		return []smpp.Mode{smpp.Transmitter, smpp.Receiver}
	case bindTransmitter:
		return []smpp.Mode{smpp.Transmitter}
	}
	return []smpp.Mode{smpp.Transceiver}
}

// client is how to reach the SMSC; bind mode and handler are the link's.
func (c config) client() smpp.Client {
	return smpp.Client{
		Addr: c.addr(),
		TLS:  c.tlsConfig(),
		Bind: smpp.Bind{
			SystemID: c.SystemID, Password: c.Password.Reveal(), SystemType: c.SystemType,
			Range: smpp.Address{Addr: c.AddressRange},
		},
		Options: smpp.Options{
			Window: c.Window, ResponseTimeout: c.ResponseTimeout, EnquireLink: c.EnquireLink,
		},
	}
}

// tlsConfig is nil without TLS.
func (c config) tlsConfig() *tls.Config {
	if c.TLS != "tls" {
		return nil
	}
	t := &tls.Config{
		ServerName:         c.Host,
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: c.TLSInsecure, //nolint:gosec // asked for by name, documented as for tests
	}
	if c.TLSServerName != "" {
		t.ServerName = c.TLSServerName
	}
	if c.TLSCA != "" {
		t.RootCAs = x509.NewCertPool()
		t.RootCAs.AppendCertsFromPEM([]byte(c.TLSCA))
	}
	return t
}
