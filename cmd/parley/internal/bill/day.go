package bill

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// DayFormats are the names of ways to write a day; any other is a layout of package time.
var DayFormats = []string{"auto", "us", "eu", "de", "unix", "unixms"}

// layouts of "auto" are those that leave no doubt.
var layouts = []string{
	time.DateOnly, time.RFC3339Nano, "2006-01-02 15:04:05.999999999 MST", "2006-01-02 15:04:05.999999999Z07:00",
	"2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04", "20060102", "2006/01/02",
	"Jan 2, 2006", "January 2, 2006", "2 Jan 2006", "2 January 2006", "02-Jan-2006", "Mon, 02 Jan 2006 15:04:05 MST",
}

var named = map[string][]string{
	"us": {"1/2/2006", "1/2/06", "1/2/2006 15:04:05", "1/2/2006 15:04", "1/2/2006 3:04:05 PM"},
	"eu": {"2/1/2006", "2/1/06", "2/1/2006 15:04:05", "2/1/2006 15:04"},
	"de": {"2.1.2006", "2.1.06", "2.1.2006 15:04:05", "2.1.2006 15:04"},
}

// checkDayFormat refuses a layout that has no day in it, such as a misspelt name.
func checkDayFormat(format string) error {
	if format == "" || format == "auto" || format == "unix" || format == "unixms" || named[format] != nil {
		return nil
	}
	a, b := time.Date(2001, 2, 3, 0, 0, 0, 0, time.UTC), time.Date(2011, 12, 13, 0, 0, 0, 0, time.UTC)
	if t, err := time.Parse(format, a.Format(format)); err != nil || !t.Equal(a) || b.Format(format) == a.Format(format) {
		return fmt.Errorf("day format %q: want %s, or a layout of the day 2006-01-02", format, strings.Join(DayFormats, ", "))
	}
	return nil
}

// parseDay is the beginning of the day that s is in. What has no zone is in zone.
func parseDay(s, format string, zone *time.Location) (time.Time, error) {
	s = strings.TrimSpace(s)
	all := []string{format}
	switch {
	case format == "" || format == "auto":
		all = layouts
	case format == "unix" || format == "unixms":
		return parseUnix(s, format == "unixms", zone)
	case named[format] != nil:
		all = named[format]
	}
	for _, layout := range all {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil {
			return midnight(t, zone), nil
		}
	}
	if format == "" || format == "auto" {
		return time.Time{}, errors.New("it is no day that leaves no doubt; say how it is written with -day-format")
	}
	return time.Time{}, fmt.Errorf("it is no day written as %s", format)
}

func parseUnix(s string, milli bool, zone *time.Location) (time.Time, error) {
	whole, _, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if milli {
		n /= 1000
	}
	if err != nil || n < -9e9 || n > 9e9 {
		return time.Time{}, errors.New("it is no time in Unix seconds, or milliseconds")
	}
	return midnight(time.Unix(n, 0), zone), nil
}

func midnight(t time.Time, zone *time.Location) time.Time {
	t = t.In(zone)
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, zone)
}
