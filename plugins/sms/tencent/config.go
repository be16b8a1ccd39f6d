package tencent

import (
	"fmt"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/push"
	"github.com/pigeonry/pigeonry/sdk"
)

// Attributes of a message that override the config.
const (
	attributeSign   = "sign_name"
	attributeExtend = "extend_code"
	attributeSender = "sender"
)

// Config of a connector.
type Config struct {
	SecretID  string     `cfg:"secret_id,required,max=128" doc:"SecretId of an API key of a CAM user that may send short messages."`
	SecretKey sdk.Secret `cfg:"secret_key,required,max=128" doc:"SecretKey of that key."`
	AppID     string     `cfg:"app_id,required,max=20" doc:"SmsSdkAppId of the SMS application, e.g. 1400006666."`
	Region    string     `cfg:"region,default=ap-guangzhou,max=40" doc:"Region of the API: ap-guangzhou, ap-beijing, ap-nanjing; ap-singapore for accounts outside China."`

	SignName   string              `cfg:"sign_name,max=60" doc:"Approved signature, needed for recipients in mainland China. A message overrides it with the attribute sign_name."`
	Template   string              `cfg:"template,max=20" doc:"Template for messages that name none, e.g. 1110. It gets the text as its only variable."`
	Parameters map[string][]string `cfg:"parameters" doc:"Names of a template's variables in their order, by template, e.g. { \"1110\" = [\"code\", \"minutes\"] }: the provider's variables are numbered. Without it the names are the numbers, 1, 2, 3."`
	ExtendCode string              `cfg:"extend_code,max=20" doc:"Extension of the sender's number, digits, where the provider has enabled it. A message overrides it with the attribute extend_code."`
	SenderID   string              `cfg:"sender_id,max=20" doc:"Sender outside mainland China, where one is registered. A message overrides it with the attribute sender."`

	CallbackToken sdk.Secret `cfg:"callback_token,min=8,max=200" doc:"Secret at the end of the callback URL, as the provider signs no callback: <callback URL>?token=<secret>. Without it neither receipts nor replies are taken."`

	BaseURL  string        `cfg:"base_url,default=https://sms.tencentcloudapi.com,format=uri" doc:"Endpoint; https://sms.intl.tencentcloudapi.com for accounts of the international site."`
	Timeout  time.Duration `cfg:"timeout,default=10s,min=100ms,max=5m" doc:"How long a request may take. What is not answered by then is uncertain."`
	MaxBatch int           `cfg:"max_batch,default=94,min=1,max=94" doc:"Messages that say the same in one request: as many as SessionContext can name so that each is found again."`
}

// Validate checks what the tags cannot say. Errors are sdk.ConfigErrors below path.
func (c Config) Validate(path string) []error {
	var errs []error
	for field, text := range map[string]string{"app_id": c.AppID, "template": c.Template, "extend_code": c.ExtendCode} {
		if strings.Trim(text, "0123456789") != "" {
			errs = append(errs, sdk.FieldError(path+"."+field, fmt.Sprintf("%q has other characters than digits", text), "write the number alone, e.g. 1400006666"))
		}
	}
	if err := push.CheckToken(path+".callback_token", c.CallbackToken); err != nil {
		errs = append(errs, err)
	}
	return errs
}
