package encrypt

import (
	"bytes"
	"crypto/ecdh"
	"encoding/base64"
	"errors"
	"testing"
)

func decode(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The example of RFC 8291 section 5, with the values of its appendix A: https://www.rfc-editor.org/rfc/rfc8291#appendix-A.
func TestVectorOfRFC8291(t *testing.T) {
	r, err := NewReceiver(
		decode(t, "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"),
		decode(t, "BTBZMqHH6r4Tts7J_aSIgg"))
	if err != nil {
		t.Fatal(err)
	}
	own, err := ecdh.P256().NewPrivateKey(decode(t, "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.encrypt([]byte("When I grow up, I want to be a watermelon"), own, decode(t, "DGv6ra1nlYgDCS1FRnbzlw"))
	if err != nil {
		t.Fatal(err)
	}
	want := decode(t, "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN")
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%x\nwant\n%x", got, want)
	}
}

func TestLimits(t *testing.T) {
	point := decode(t, "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4")
	r, err := NewReceiver(point, make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	first, err := r.Encrypt(make([]byte, MaxText))
	if err != nil || len(first) != 4096 || MaxText != 3993 { // the figure of RFC 8291 section 4
		t.Errorf("the largest text of %d bytes makes %d, %v", MaxText, len(first), err)
	}
	if second, err := r.Encrypt(make([]byte, MaxText)); err != nil || bytes.Equal(first, second) {
		t.Errorf("two messages are alike: %v", err)
	}
	if _, err := r.Encrypt(make([]byte, MaxText+1)); !errors.Is(err, ErrTooLong) {
		t.Errorf("a longer text: %v", err)
	}
	for name, keys := range map[string][2][]byte{
		"no point":       {make([]byte, 65), make([]byte, 16)},
		"a short point":  {point[:64], make([]byte, 16)},
		"a short secret": {point, make([]byte, 15)},
	} {
		if _, err := NewReceiver(keys[0], keys[1]); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
