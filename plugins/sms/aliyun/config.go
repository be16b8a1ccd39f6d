package aliyun

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
)

// Config of a connector.
type Config struct {
	AccessKeyID     string     `cfg:"access_key_id,required,max=128" doc:"AccessKey ID of a RAM user that may send short messages."`
	AccessKeySecret sdk.Secret `cfg:"access_key_secret,required,max=128" doc:"AccessKey secret of that user."`

	SignName     string `cfg:"sign_name,max=60" doc:"Approved signature, e.g. 阿里云. A message overrides it with the attribute sign_name."`
	Template     string `cfg:"template,max=64" doc:"Template for messages that name none, e.g. SMS_15255000. It gets the text as its variable template_text."`
	TemplateText string `cfg:"template_text,default=content,max=64" doc:"Variable of template that takes the text."`
	ExtendCode   string `cfg:"extend_code,max=20" doc:"Extension of the sender's number (SmsUpExtendCode), digits. A message overrides it with the attribute extend_code."`

	CallbackToken sdk.Secret `cfg:"callback_token,min=8,max=200" doc:"Secret at the end of the callback URL, as the provider signs no push: <callback URL>?token=<secret>. Without it neither receipts nor replies are taken."`

	BaseURL  string        `cfg:"base_url,default=https://dysmsapi.aliyuncs.com,format=uri" doc:"Endpoint of the API 2017-05-25, that of mainland China. The one in Singapore speaks another API, which is not supported."`
	Timeout  time.Duration `cfg:"timeout,default=10s,min=100ms,max=5m" doc:"How long a request may take. What is not answered by then is uncertain."`
	MaxBatch int           `cfg:"max_batch,default=46,min=1,max=46" doc:"Messages of one template in one request: as many as OutId can name so that each is found again. 1: each has a request of its own, as the provider advises for verification codes."`
}

// Validate checks what the tags cannot say. Errors are sdk.ConfigErrors below path.
func (c Config) Validate(path string) []error {
	var errs []error
	if strings.Trim(c.ExtendCode, "0123456789") != "" {
		errs = append(errs, sdk.FieldError(path+".extend_code", fmt.Sprintf("%q has other characters than digits", c.ExtendCode), "write it as 90999"))
	}
	if c.Template != "" && c.TemplateText == "" {
		errs = append(errs, sdk.FieldError(path+".template_text", "is empty", "name the variable of template that takes the text, e.g. content"))
	}
	if err := push.CheckToken(path+".callback_token", c.CallbackToken); err != nil {
		errs = append(errs, err)
	}
	return errs
}
