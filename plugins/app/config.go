package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// config of a connector. Exactly one of the blocks is there.
type config struct {
	FCM     *fcmConfig     `cfg:"fcm" doc:"Firebase Cloud Messaging: apps on Android, and those on iOS and in browsers that register with Firebase."`
	APNs    *apnsConfig    `cfg:"apns" doc:"Apple Push Notification service: apps on iOS, iPadOS, macOS, watchOS and tvOS."`
	WebPush *webPushConfig `cfg:"webpush" doc:"Web Push: browsers, without an account at a provider."`
	Huawei  *huaweiConfig  `cfg:"huawei" doc:"Huawei Push Kit: apps on Huawei phones."`

	Title        string        `cfg:"title" doc:"Title of notifications whose message has no subject."`
	IDKey        string        `cfg:"id_key,default=pigeonry_id,max=64" doc:"Key of a push's data that carries the id of the message, so that the app can drop a repeat. Empty: none."`
	HighPriority int           `cfg:"high_priority,default=3,min=0,max=11" doc:"Priority of a message from which on its push wakes a sleeping device. 11: never."`
	TTL          time.Duration `cfg:"ttl,default=24h,min=0s,max=672h" doc:"How long the provider keeps a push for a device that is off, where the message itself says no end."`
	Rate         int           `cfg:"rate,min=0,max=100000" doc:"Most pushes a second, where the provider's quota asks for it. 0: no bound."`
	Timeout      time.Duration `cfg:"timeout,default=10s,min=1ms,max=5m" doc:"How long a request may take. What the provider does not answer in that time is uncertain."`
	TLSCA        string        `cfg:"tls_ca" doc:"Certificates (PEM) of the authorities to trust instead of the system's, e.g. file(\"ca.pem\")."`
}

// fcmConfig is what the Firebase console gives: Project settings, Service accounts.
type fcmConfig struct {
	ServiceAccount sdk.Secret `cfg:"service_account,required" doc:"Key file (JSON) of a service account that may send, e.g. file(\"service-account.json\")."`
	ProjectID      string     `cfg:"project_id" doc:"Id of the Firebase project, where it is not that of the service account."`
	BaseURL        string     `cfg:"base_url,default=https://fcm.googleapis.com,format=uri" doc:"Where FCM is."`
	TokenURL       string     `cfg:"token_url" doc:"Where access tokens come from. Left out: token_uri of the service account."`
	ValidateOnly   bool       `cfg:"validate_only" doc:"FCM checks each push and delivers none."`
}

// apnsConfig is what the Apple developer account gives: Certificates, Identifiers & Profiles, Keys.
type apnsConfig struct {
	PrivateKey sdk.Secret `cfg:"private_key,required" doc:"Signing key (PEM) as Apple gives it out once, e.g. file(\"AuthKey_ABCDE12345.p8\")."`
	KeyID      string     `cfg:"key_id,required,min=10,max=10" doc:"Id of the key: 10 characters."`
	TeamID     string     `cfg:"team_id,required,min=10,max=10" doc:"Id of the team: 10 characters."`
	Topic      string     `cfg:"topic,required" doc:"Bundle id of the app, e.g. com.example.shop."`
	BaseURL    string     `cfg:"base_url,default=https://api.push.apple.com,format=uri" doc:"Where APNs is. Apps from Xcode: https://api.sandbox.push.apple.com. With http:// it is spoken to by HTTP/2 in clear."`
}

// webPushConfig is the key pair by which browsers know the sender (VAPID, RFC 8292).
type webPushConfig struct {
	PrivateKey sdk.Secret `cfg:"private_key,required" doc:"VAPID private key: 32 bytes in base64url, as npx web-push generate-vapid-keys prints it."`
	PublicKey  string     `cfg:"public_key" doc:"VAPID public key that browsers subscribe with. Left out: it is taken from the private key; given: the two are checked to be a pair."`
	Subject    string     `cfg:"subject,required" doc:"Whom a push service may turn to: mailto:ops@example.com or an https address."`
	Hosts      []string   `cfg:"hosts" doc:"Hosts of push services that are sent to, e.g. fcm.googleapis.com or *.push.services.mozilla.com. Empty: any at a public address."`
	Private    bool       `cfg:"private" doc:"Also sends to private addresses and over http. A subscription comes from a browser: with this, whoever can register one can make the gateway call your inner services. For tests alone."`
}

// huaweiConfig is what AppGallery Connect gives: Project settings, General information; Push Kit, Settings.
type huaweiConfig struct {
	ClientID     string     `cfg:"client_id,required" doc:"OAuth 2.0 client id of the app."`
	ClientSecret sdk.Secret `cfg:"client_secret,required" doc:"OAuth 2.0 client secret of the app."`
	BaseURL      string     `cfg:"base_url,default=https://push-api.cloud.huawei.com,format=uri" doc:"Where Push Kit is."`
	TokenURL     string     `cfg:"token_url,default=https://oauth-login.cloud.huawei.com/oauth2/v3/token,format=uri" doc:"Where access tokens come from."`
	Category     string     `cfg:"category" doc:"Category of messages, where the app has been granted one, e.g. IM or EXPRESS. The attribute category goes before."`
	CallbackUser string     `cfg:"callback_user" doc:"Callback user name of the receipts, as set in the console."`
	CallbackKey  sdk.Secret `cfg:"callback_key" doc:"Callback key of the receipts, as set in the console. Without it receipts are refused, as anybody could forge them."`
	ReceiptID    string     `cfg:"receipt_id" doc:"Id of the receipt configuration to use, where the console has several."`
	TestMessages bool       `cfg:"test_messages" doc:"Marks pushes as tests: 500 a day, beside the daily bound of a device."`
}

// validate checks what the tags cannot say.
func validate(c config) error {
	errs := []error{oneProvider(c)}
	if c.TLSCA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(c.TLSCA)) {
		errs = append(errs, sdk.FieldError("tls_ca", "holds no certificate", `give the PEM text itself, e.g. file("ca.pem")`))
	}
	if c.FCM != nil {
		_, err := newFCMIdentity(c.FCM)
		errs = append(errs, err, webAddress("fcm.base_url", c.FCM.BaseURL))
	}
	if c.APNs != nil {
		_, err := newAPNsIdentity(c.APNs)
		errs = append(errs, err, webAddress("apns.base_url", c.APNs.BaseURL))
	}
	if c.WebPush != nil {
		_, err := newVAPID(c.WebPush)
		errs = append(errs, err, checkHosts(c.WebPush.Hosts))
	}
	if c.Huawei != nil {
		errs = append(errs, checkHuawei(c.Huawei))
	}
	return errors.Join(errs...)
}

func oneProvider(c config) error {
	var given []string
	for name, there := range map[string]bool{
		"fcm": c.FCM != nil, "apns": c.APNs != nil, "webpush": c.WebPush != nil, "huawei": c.Huawei != nil,
	} {
		if there {
			given = append(given, name)
		}
	}
	switch len(given) {
	case 1:
		return nil
	case 0:
		return sdk.FieldError("", "has no provider", "add one block: fcm { … }, apns { … }, webpush { … } or huawei { … }")
	default:
		return sdk.FieldError("", "has several providers", "keep one of the blocks, and make a connector of its own for each other one")
	}
}

func checkHuawei(c *huaweiConfig) error {
	var pair error
	if (c.CallbackUser == "") != (c.CallbackKey == "") {
		pair = sdk.FieldError("huawei.callback_key", "needs callback_user, and callback_user needs it", "give both or neither")
	}
	return errors.Join(pair, webAddress("huawei.base_url", c.BaseURL), webAddress("huawei.token_url", c.TokenURL))
}

// checkHosts refuses what can match no host.
func checkHosts(hosts []string) error {
	var errs []error
	for i, h := range hosts {
		rest := strings.TrimPrefix(h, "*.")
		if rest == "" || strings.ContainsAny(rest, "*/: @") {
			errs = append(errs, sdk.FieldError(fmt.Sprintf("webpush.hosts[%d]", i), fmt.Sprintf("%q is no host", h),
				"write updates.push.services.mozilla.com, or *.notify.windows.com for all below it"))
		}
	}
	return errors.Join(errs...)
}

// webAddress refuses what is no address of a web server. It is the beginning of others, so that a query would be lost.
func webAddress(field, text string) error {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return sdk.FieldError(field, "is no address of a web server", "write it as https://push.example.com")
	}
	return nil
}
