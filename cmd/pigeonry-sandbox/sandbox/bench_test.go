package sandbox_test

import (
	"strings"
	"testing"

	"github.com/emersion/go-smtp"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox"
)

func BenchmarkMail(b *testing.B) {
	s := start(b, sandbox.Options{})
	const raw = "From: Shop <shop@example.com>\r\nTo: a@example.com\r\nSubject: Order 1\r\nMessage-Id: <1@x>\r\n\r\nYour order is on its way.\r\n"
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		client, err := smtp.Dial(s.Addresses().SMTP)
		if err != nil {
			b.Error(err)
			return
		}
		defer client.Close()
		for pb.Next() {
			if err := client.SendMail("shop@example.com", []string{"a@example.com"}, strings.NewReader(raw)); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
}

func BenchmarkSMS(b *testing.B) {
	s := start(b, sandbox.Options{})
	session, receipts := dial(b, s)
	b.SetParallelism(100)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := session.Submit(b.Context(), sms("8613800138000", 0, []byte("Your code is 123456"))); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sms/s")
	b.StopTimer()
	for range b.N {
		awaitReceipt(b, receipts)
	}
}
