package bus_test

import (
	"testing"
	"time"

	"github.com/berth-registry/berth/bus"
)

func TestSchedule(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse("2006-01-02 15:04", s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct{ expression, after, want string }{
		{"rate(5 minutes)", "2026-11-21 10:00", "2026-11-21 10:05"},
		{"rate(1 hour)", "2026-11-21 10:00", "2026-11-21 11:00"},
		{"rate(7 days)", "2026-11-21 10:00", "2026-11-28 10:00"},
		{"cron(0 10 * * ? *)", "2026-11-21 10:00", "2026-11-22 10:00"},
		{"cron(15 12 * * ? *)", "2026-11-21 10:00", "2026-11-21 12:15"},
		{"cron(0 18 ? * MON-FRI *)", "2026-11-20 18:00", "2026-11-23 18:00"},
		{"cron(0 8 1 * ? *)", "2026-11-21 10:00", "2026-12-01 08:00"},
		{"cron(0/15 * * * ? *)", "2026-11-21 10:01", "2026-11-21 10:15"},
		{"cron(0/5 8-17 ? * MON-FRI *)", "2026-11-20 17:55", "2026-11-23 08:00"},
		{"cron(0 9 ? * 2#1 *)", "2026-11-21 10:00", "2026-12-07 09:00"},
		{"cron(0 0 L * ? *)", "2026-02-01 00:00", "2026-02-28 00:00"},
		{"cron(0 0 L * ? *)", "2028-02-01 00:00", "2028-02-29 00:00"},
		{"cron(0 0 ? * 6L *)", "2026-11-21 10:00", "2026-11-27 00:00"},
		{"cron(0 0 15W * ? *)", "2026-08-01 00:00", "2026-08-14 00:00"},
		{"cron(0 0 1W * ? *)", "2026-07-15 00:00", "2026-08-03 00:00"},
		{"cron(0 12 1,15 JAN,JUL ? 2027)", "2026-11-21 10:00", "2027-01-01 12:00"},
		{"cron(0 0 29 2 ? *)", "2026-11-21 10:00", "2028-02-29 00:00"},
		{"cron(0 0 1 1 ? 2020)", "2026-11-21 10:00", ""},
	} {
		s, err := bus.ParseSchedule(c.expression)
		if err != nil {
			t.Errorf("%s: %v", c.expression, err)
			continue
		}
		got := s.Next(at(c.after))
		if c.want == "" && !got.IsZero() || c.want != "" && !got.Equal(at(c.want)) {
			t.Errorf("%s after %s: %s, want %s", c.expression, c.after, got.Format("2006-01-02 15:04"), c.want)
		}
	}
	for _, bad := range []string{"", "rate(1 minutes)", "rate(5 minute)", "rate(0 minutes)", "rate(5 weeks)", "cron(* * * * *)", "cron(0 0 * * * *)", "cron(0 0 ? * ? *)",
		"cron(60 0 * * ? *)", "cron(0 24 * * ? *)", "cron(0 0 32 * ? *)", "cron(0 0 * 13 ? *)", "cron(0 0 ? * 8 *)", "cron(0 0 ? * MON#6 *)", "cron(0/0 0 * * ? *)",
		"cron(5-1 0 * * ? *)", "every day"} {
		if _, err := bus.ParseSchedule(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func FuzzSchedule(f *testing.F) {
	f.Add("cron(0/15 8-17 ? * MON-FRI 2026/2)")
	f.Add("rate(5 minutes)")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := bus.ParseSchedule(text); err == nil {
			now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
			if at := s.Next(now); !at.IsZero() && !at.After(now) {
				t.Errorf("%q is due at %s", text, at)
			}
		}
	})
}
