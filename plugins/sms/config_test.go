package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
	"github.com/pigeonry/pigeonry/plugins/sms/twilio"
	"github.com/pigeonry/pigeonry/sdk"
)

func TestValidate(t *testing.T) {
	if err := validate(configFor("127.0.0.1:2775")); err != nil {
		t.Fatalf("a good config: %v", err)
	}
	for path, change := range map[string]func(c *config){
		"host":           func(c *config) { c.Host = "smpp.example.com:2775" },
		"system_id":      func(c *config) { c.SystemID = "shöp" },
		"password":       func(c *config) { c.Password = "with\x00zero" },
		"source":         func(c *config) { c.Source = "A shop with a long name" },
		"tls_ca":         func(c *config) { c.TLSCA = "/etc/ssl/ca.pem" },
		"receipt_zone":   func(c *config) { c.ReceiptZone = "Asia/Nowhere" },
		"statuses.0x450": func(c *config) { c.Statuses = map[string]string{"0x450": "ignored"} },
		"statuses.never": func(c *config) { c.Statuses = map[string]string{"never": "rejected"} },
		"statuses.0":     func(c *config) { c.Statuses = map[string]string{"0": "rejected"} },
	} {
		t.Run(path, func(t *testing.T) {
			c := configFor("127.0.0.1:2775")
			change(&c)
			err := validate(c)
			fault, ok := errors.AsType[*sdk.ConfigError](err)
			if !ok || fault.Path != path || fault.Detail == "" {
				t.Errorf("error %v, want one about %s that says how to mend it", err, path)
			}
			if strings.Contains(err.Error(), "with\x00zero") {
				t.Errorf("the password stands in %q", err)
			}
		})
	}
}

func TestValidateChoosesTheProvider(t *testing.T) {
	cloud := aliyunConfig("https://dysmsapi.aliyuncs.com")
	chinese := tencentConfig("https://sms.tencentcloudapi.com")
	american := twilioConfig("https://api.twilio.com")
	for name, tc := range map[string]struct {
		config config
		path   string
	}{
		"nothing":        {config{}, "host"},
		"aliyun":         {config{Aliyun: &cloud}, ""},
		"tencent":        {config{Tencent: &chinese}, ""},
		"twilio":         {config{Twilio: &american}, ""},
		"two":            {config{Aliyun: &cloud, Twilio: &american}, "twilio"},
		"beside SMPP":    {config{Tencent: &chinese, SystemID: "shop"}, "system_id"},
		"a fault inside": {config{Twilio: &twilio.Config{AccountSID: "AC1", AuthToken: "x"}}, "twilio.account_sid"},
		"SMPP as ever":   {configFor("127.0.0.1:2775"), ""},
	} {
		err := validate(tc.config)
		fault, ok := errors.AsType[*sdk.ConfigError](err)
		if tc.path == "" && err == nil {
			continue
		}
		if !ok || fault.Detail == "" || fault.Path != tc.path && (name != "nothing" || fault.Path != "system_id") {
			t.Errorf("%s: %v, want a fault of %q", name, err, tc.path)
		}
	}
	for _, c := range []config{{Aliyun: &cloud}, {Tencent: &chinese}, {Twilio: &american}} {
		sender, err := plugin().Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if _, smpp := sender.(*connector); smpp {
			t.Errorf("%+v speaks SMPP", c.blocks()[0].name)
		}
	}
}

func TestSender(t *testing.T) {
	for _, tc := range []struct {
		sender   string
		ton, npi int // of the config
		want     smpp.Address
	}{
		{"", -1, -1, smpp.Address{}},
		{"Shop 24", -1, -1, smpp.Address{TON: 5, Addr: "Shop 24"}},
		{"+8613800138000", -1, -1, smpp.Address{TON: 1, NPI: 1, Addr: "8613800138000"}},
		{"8613800138000", -1, -1, smpp.Address{TON: 1, NPI: 1, Addr: "8613800138000"}},
		{"10086", -1, -1, smpp.Address{TON: 3, Addr: "10086"}},
		{"10086", 0, 1, smpp.Address{NPI: 1, Addr: "10086"}},
		{"+", -1, -1, smpp.Address{TON: 5, Addr: "+"}},
	} {
		got, err := config{SourceTON: tc.ton, SourceNPI: tc.npi}.sender(tc.sender)
		if err != nil || got != tc.want {
			t.Errorf("%q with %d, %d is %+v, %v; want %+v", tc.sender, tc.ton, tc.npi, got, err, tc.want)
		}
	}
	for _, sender := range []string{"TwelveLetter", "Übersee", strings.Repeat("1", 21), "a\nb"} {
		if a, err := (config{SourceTON: -1, SourceNPI: -1}).sender(sender); err == nil {
			t.Errorf("%q became %+v, want an error", sender, a)
		}
	}
}

func TestTLSConfig(t *testing.T) {
	c := configFor("127.0.0.1:3550")
	if c.tlsConfig() != nil {
		t.Error("TLS without being asked for")
	}
	c.TLS = "tls"
	if got := c.tlsConfig(); got.ServerName != "127.0.0.1" || got.InsecureSkipVerify {
		t.Errorf("server name %q, insecure %v", got.ServerName, got.InsecureSkipVerify)
	}
	c.TLSServerName = "smpp.example.com"
	if got := c.tlsConfig().ServerName; got != "smpp.example.com" {
		t.Errorf("server name %q, want the one given", got)
	}
}
