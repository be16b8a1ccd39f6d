package feishu

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// maxImageBytes is how large an uploaded image may be.
const maxImageBytes = 10 << 20

// reuseUntil is how much life the last token must have left to be given again.
const reuseUntil = 30 * time.Minute

// giveToken answers with a tenant_access_token: the last one, while it has half an hour to live.
func (p *provider) giveToken(rw http.ResponseWriter, r *http.Request) {
	var asked struct {
		ID     string `json:"app_id"`
		Secret string `json:"app_secret"`
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, 64<<10)).Decode(&asked); err != nil || asked.ID == "" || asked.Secret == "" {
		refuse(rw, http.StatusBadRequest, 10003, "invalid param")
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case asked.ID != p.settings.AppID:
		refuse(rw, http.StatusOK, 10003, "invalid param")
		return
	case asked.Secret != p.settings.AppSecret:
		refuse(rw, http.StatusOK, 10014, "app secret invalid")
		return
	}
	now, life := p.now(), time.Duration(p.settings.TokenSeconds)*time.Second
	if until, ok := p.tokens[p.latest]; !ok || until.Sub(now) < min(reuseUntil, life/2) {
		p.latest = "t-" + p.desk.NewID()
		p.tokens[p.latest] = now.Add(life)
	}
	for token, until := range p.tokens {
		if now.After(until) {
			delete(p.tokens, token)
		}
	}
	write(rw, http.StatusOK, map[string]any{
		"code": 0, "msg": "ok", "tenant_access_token": p.latest, "expire": int(p.tokens[p.latest].Sub(now).Seconds()),
	})
}

// withToken lets those through who show a token that is valid.
func (p *provider) withToken(next http.HandlerFunc) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		p.mu.Lock()
		until, known := p.tokens[token]
		p.mu.Unlock()
		switch {
		case !bearer || token == "":
			refuse(rw, http.StatusBadRequest, 99991661, "Missing access token for authorization. Please make a request with token attached.")
		case !strings.HasPrefix(token, "t-"):
			refuse(rw, http.StatusBadRequest, 99991671, "Invalid token: must start with t-/u-")
		case !known || !p.now().Before(until):
			refuse(rw, http.StatusBadRequest, 99991663, texts[99991663])
		default:
			next(rw, r)
		}
	}
}

func (p *provider) botInfo(rw http.ResponseWriter, _ *http.Request) {
	write(rw, http.StatusOK, map[string]any{"code": 0, "msg": "ok", "bot": map[string]any{
		"activate_status": 2, "app_name": "Sandbox", "avatar_url": "", "ip_white_list": []string{}, "open_id": "ou_sandbox_bot",
	}})
}

// upload takes an image and gives it a key. It is not kept.
func (p *provider) upload(rw http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(rw, r.Body, maxImageBytes+64<<10)
	err := r.ParseMultipartForm(maxImageBytes)
	size, given := imageSize(r)
	tooLarge, _ := errors.AsType[*http.MaxBytesError](err)
	switch {
	case tooLarge != nil, size > maxImageBytes:
		refuse(rw, http.StatusBadRequest, 234006, "The file size exceed the max value.")
	case err != nil, !given, r.FormValue("image_type") != "message" && r.FormValue("image_type") != "avatar":
		refuse(rw, http.StatusBadRequest, 234001, "Invalid request param.")
	case size == 0:
		refuse(rw, http.StatusBadRequest, 234010, "File's size can't be 0.")
	default:
		write(rw, http.StatusOK, answer{Message: "success", Data: map[string]any{"image_key": "img_v3_" + p.desk.NewID()}})
	}
}

// imageSize is how large the image in a form is. The part may lack a file name, as it does in the documentation.
func imageSize(r *http.Request) (int64, bool) {
	if r.MultipartForm == nil {
		return 0, false
	}
	if files := r.MultipartForm.File["image"]; len(files) > 0 {
		return files[0].Size, true
	}
	values := r.MultipartForm.Value["image"]
	if len(values) == 0 {
		return 0, false
	}
	return int64(len(values[0])), true
}
