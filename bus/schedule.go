package bus

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Schedule is a parsed rate() or cron() expression. Times are UTC.
type Schedule struct {
	every time.Duration // of rate
	cron  *cron
}

// ParseSchedule reads an expression (EventBridge user guide, schedule expressions).
func ParseSchedule(text string) (*Schedule, error) {
	if inner, ok := between(text, "rate(", ")"); ok {
		return parseRate(inner)
	}
	if inner, ok := between(text, "cron(", ")"); ok {
		c, err := parseCron(inner)
		if err != nil {
			return nil, err
		}
		return &Schedule{cron: c}, nil
	}
	return nil, errors.New("it must be of the form rate(value unit) or cron(minutes hours day-of-month month day-of-week year)")
}

func between(s, prefix, suffix string) (string, bool) {
	s, ok := strings.CutPrefix(s, prefix)
	if !ok {
		return "", false
	}
	return strings.CutSuffix(s, suffix)
}

func parseRate(s string) (*Schedule, error) {
	value, unit, _ := strings.Cut(s, " ")
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > 1_000_000 {
		return nil, fmt.Errorf("%.20q is not a positive number", value)
	}
	units := map[string]time.Duration{"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}
	one, plural := strings.CutSuffix(unit, "s")
	every, ok := units[one]
	if !ok || plural != (n > 1) {
		return nil, fmt.Errorf("%.20q is not a unit for %d: use minute, hour or day, with an s above 1", unit, n)
	}
	return &Schedule{every: time.Duration(n) * every}, nil
}

// Next is the first time after one, zero when there is none.
func (s *Schedule) Next(after time.Time) time.Time {
	if s.cron == nil {
		return after.Add(s.every)
	}
	return s.cron.next(after.UTC())
}

// cron is a parsed cron expression with AWS's six fields.
type cron struct {
	minutes, hours, months, years []int
	days                          []dayRule // of the month, or of the week
}

// dayRule tells of a day whether it matches.
type dayRule func(day time.Time) bool

var (
	monthNames = []string{"", "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}
	dayNames   = []string{"", "SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}
)

func parseCron(s string) (*cron, error) {
	f := strings.Fields(s)
	if len(f) != 6 {
		return nil, fmt.Errorf("cron() has 6 fields, not %d", len(f))
	}
	c := &cron{}
	var err error
	for _, x := range []struct {
		dest     *[]int
		text     string
		from, to int
		names    []string
	}{{&c.minutes, f[0], 0, 59, nil}, {&c.hours, f[1], 0, 23, nil}, {&c.months, f[3], 1, 12, monthNames}, {&c.years, f[5], 1970, 2199, nil}} {
		if *x.dest, err = values(x.text, x.from, x.to, x.names); err != nil {
			return nil, err
		}
	}
	if (f[2] == "?") == (f[4] == "?") {
		return nil, errors.New("one of day-of-month and day-of-week must be ?, the other not")
	}
	if f[4] == "?" {
		c.days, err = monthDays(f[2])
	} else {
		c.days, err = weekDays(f[4])
	}
	return c, err
}

// values lists what a field allows: *, a, a-b, */n, a/n, and lists of them.
func values(text string, from, to int, names []string) ([]int, error) {
	var out []int
	for part := range strings.SplitSeq(text, ",") {
		span, stepText, stepped := strings.Cut(part, "/")
		step := 1
		if stepped {
			var err error
			if step, err = strconv.Atoi(stepText); err != nil || step < 1 {
				return nil, fmt.Errorf("%.20q is not a step", part)
			}
		}
		low, high, ok := from, to, true
		if span != "*" {
			a, b, isRange := strings.Cut(span, "-")
			low, ok = value(a, from, to, names)
			switch {
			case ok && isRange:
				high, ok = value(b, from, to, names)
			case ok && !stepped:
				high = low
			}
		}
		if !ok || low > high {
			return nil, fmt.Errorf("%.20q is not a value between %d and %d", part, from, to)
		}
		for i := low; i <= high; i += step {
			out = append(out, i)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func value(s string, from, to int, names []string) (int, bool) {
	if i := slices.Index(names, strings.ToUpper(s)); i > 0 {
		return i, true
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= from && n <= to
}

func lastDay(day time.Time) int {
	return time.Date(day.Year(), day.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

func monthDays(text string) ([]dayRule, error) {
	if text == "L" {
		return []dayRule{func(d time.Time) bool { return d.Day() == lastDay(d) }}, nil
	}
	if n, ok := strings.CutSuffix(text, "W"); ok {
		want, ok := value(n, 1, 31, nil)
		if !ok {
			return nil, fmt.Errorf("%.20q is not a day of the month", text)
		}
		return []dayRule{func(d time.Time) bool { return d.Day() == nearestWeekday(d, want) }}, nil
	}
	list, err := values(text, 1, 31, nil)
	return []dayRule{func(d time.Time) bool { return slices.Contains(list, d.Day()) }}, err
}

// nearestWeekday is the working day of a month that is nearest to one of its days.
func nearestWeekday(in time.Time, day int) int {
	day = min(day, lastDay(in))
	switch time.Date(in.Year(), in.Month(), day, 0, 0, 0, 0, time.UTC).Weekday() {
	case time.Saturday:
		if day == 1 {
			return 3
		}
		return day - 1
	case time.Sunday:
		if day == lastDay(in) {
			return day - 2
		}
		return day + 1
	}
	return day
}

func weekDays(text string) ([]dayRule, error) {
	if n, ok := strings.CutSuffix(text, "L"); ok {
		want, ok := value(n, 1, 7, dayNames)
		if text == "L" {
			want, ok = 7, true
		}
		if !ok {
			return nil, fmt.Errorf("%.20q is not a day of the week", text)
		}
		return []dayRule{func(d time.Time) bool { return int(d.Weekday())+1 == want && d.Day()+7 > lastDay(d) }}, nil
	}
	if n, nth, ok := strings.Cut(text, "#"); ok {
		want, ok1 := value(n, 1, 7, dayNames)
		which, ok2 := value(nth, 1, 5, nil)
		if !ok1 || !ok2 {
			return nil, fmt.Errorf("%.20q is not a day of the week and its number", text)
		}
		return []dayRule{func(d time.Time) bool { return int(d.Weekday())+1 == want && (d.Day()-1)/7+1 == which }}, nil
	}
	list, err := values(text, 1, 7, dayNames)
	return []dayRule{func(d time.Time) bool { return slices.Contains(list, int(d.Weekday())+1) }}, err
}

func (c *cron) next(after time.Time) time.Time {
	t := after.Truncate(time.Minute).Add(time.Minute)
	for t.Year() <= c.years[len(c.years)-1] {
		switch {
		case !slices.Contains(c.years, t.Year()):
			t = time.Date(t.Year()+1, 1, 1, 0, 0, 0, 0, time.UTC)
		case !slices.Contains(c.months, int(t.Month())):
			t = time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC)
		case !c.days[0](t):
			t = time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, time.UTC)
		case !slices.Contains(c.hours, t.Hour()):
			t = t.Truncate(time.Hour).Add(time.Hour)
		case !slices.Contains(c.minutes, t.Minute()):
			t = t.Add(time.Minute)
		default:
			return t
		}
		if t.Year() > after.Year()+200 {
			break
		}
	}
	return time.Time{}
}
