package wechat

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"time"
)

// renewal is how long before the end of a stable token WeChat gives out its successor; both are valid until then.
const renewal = 5 * time.Minute

// forcedPause is how long to wait between two forced renewals; an earlier one gets the same token.
const forcedPause = 30 * time.Second

// forcedADay is how many forced renewals there are in a day.
const forcedADay = 20

// tokens are the access tokens of the account. Those of /cgi-bin/token and of /cgi-bin/stable_token do not touch each other.
type tokens struct {
	plain, plainBefore   accessToken
	stable, stableBefore accessToken
	forced               []time.Time
}

type accessToken struct {
	value   string
	expires time.Time
}

func (t accessToken) is(value string, now time.Time) bool {
	return t.value != "" && t.value == value && now.Before(t.expires)
}

func newToken(now time.Time, life time.Duration) accessToken {
	return accessToken{"SANDBOX_" + rand.Text() + rand.Text(), now.Add(life)}
}

// token answers /cgi-bin/token, which ends the token that it gave out before, after five minutes.
func (p *Provider) token(rw http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if code := p.credentials(q.Get("grant_type"), q.Get("appid"), q.Get("secret")); code != 0 {
		fail(rw, code)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	before := p.tokens.plain
	if end := now.Add(renewal); before.expires.After(end) {
		before.expires = end
	}
	p.tokens.plainBefore, p.tokens.plain = before, newToken(now, p.life())
	p.give(rw, p.tokens.plain, now)
}

// stableToken answers /cgi-bin/stable_token:
// https://developers.weixin.qq.com/doc/service/api/base/api_getstableaccesstoken.html
func (p *Provider) stableToken(rw http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		fail(rw, errNeedPost)
		return
	}
	var asked struct {
		GrantType    string `json:"grant_type"`
		AppID        string `json:"appid"`
		Secret       string `json:"secret"`
		ForceRefresh bool   `json:"force_refresh"`
	}
	if code := decode(r, &asked); code != 0 {
		fail(rw, code)
		return
	}
	if code := p.credentials(asked.GrantType, asked.AppID, asked.Secret); code != 0 {
		fail(rw, code)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	switch {
	case asked.ForceRefresh:
		if code := p.force(now); code != 0 {
			fail(rw, code)
			return
		}
	case p.tokens.stable.expires.Sub(now) <= min(renewal, p.life()/5): // also where there is none
		p.tokens.stableBefore, p.tokens.stable = p.tokens.stable, newToken(now, p.life())
	}
	p.give(rw, p.tokens.stable, now)
}

// force makes a new stable token and ends the one before at once, unless it was done a moment ago.
func (p *Provider) force(now time.Time) int {
	t := &p.tokens
	if n := len(t.forced); n > 0 && now.Sub(t.forced[n-1]) < forcedPause {
		return 0
	}
	if n := len(t.forced); n >= forcedADay && now.Sub(t.forced[n-forcedADay]) < 24*time.Hour {
		return errDailyQuota
	}
	t.forced = append(t.forced, now)
	t.stableBefore, t.stable = accessToken{}, newToken(now, p.life())
	return 0
}

func (p *Provider) life() time.Duration { return time.Duration(p.settings.TokenSeconds) * time.Second }

func (p *Provider) give(rw http.ResponseWriter, t accessToken, now time.Time) {
	reply(rw, map[string]any{"access_token": t.value, "expires_in": int(t.expires.Sub(now).Seconds())})
}

// credentials returns the error code of a request for a token, or 0.
func (p *Provider) credentials(grant, appID, secret string) int {
	s := p.current()
	switch {
	case grant != "client_credential":
		return errGrantType
	case appID == "":
		return errNoAppID
	case appID != s.AppID:
		return errAppID
	case secret == "":
		return errNoSecret
	case secret != s.AppSecret:
		return errSecret
	default:
		return 0
	}
}

// authorized lets requests with a valid access token through.
func (p *Provider) authorized(method string, serve http.HandlerFunc) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		switch value := r.URL.Query().Get("access_token"); {
		case value == "":
			fail(rw, errNoToken)
		case !p.valid(value):
			fail(rw, errToken)
		case r.Method != method && method == http.MethodPost:
			fail(rw, errNeedPost)
		case r.Method != method:
			fail(rw, errNeedGet)
		default:
			serve(rw, r)
		}
	}
}

func (p *Provider) valid(value string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, t := time.Now(), &p.tokens
	return t.stable.is(value, now) || t.stableBefore.is(value, now) || t.plain.is(value, now) || t.plainBefore.is(value, now)
}

// decode reads a JSON body, or returns the error code.
func decode(r *http.Request, into any) int {
	body, err := readAll(r)
	switch {
	case err != nil:
		return errTooLarge
	case len(body) == 0:
		return errEmpty
	case json.Unmarshal(body, into) != nil:
		return errFormat
	default:
		return 0
	}
}
