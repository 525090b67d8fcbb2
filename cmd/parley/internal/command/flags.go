package command

import (
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/parley-go/parley/cmd/parley/internal/account"
	"github.com/parley-go/parley/metrics"
)

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// selection has the flags that say what is counted.
type selection struct {
	since, until, zone       string
	types, providers, models list
	tags, prices             list
	format                   string
}

func (s *selection) flags(fs *flag.FlagSet) {
	fs.StringVar(&s.since, "since", "", "count what is from this `TIME` on: a day, 2006-01-02, or RFC 3339")
	fs.StringVar(&s.until, "until", "", "count what is before this `TIME`")
	fs.StringVar(&s.zone, "tz", "UTC", "time `ZONE` of days, like Europe/Berlin; Local is that of this machine")
	fs.Var(&s.types, "type", "count only this `KIND`: llm, tts, stt, interruption or eot; may be repeated")
	fs.Var(&s.providers, "provider", "count only this provider, or all that begin with what is before a star: `NAME`; may be repeated")
	fs.Var(&s.models, "model", "count only this model, likewise: `NAME`; may be repeated")
	fs.Var(&s.tags, "tag", "count only sessions with this tag: `KEY=VALUE`; may be repeated, all must fit")
	fs.Var(&s.prices, "prices", "say what it costs by the price book in `FILE`; may be repeated, the first that has a price counts")
	fs.StringVar(&s.format, "format", "table", "print as `FORMAT`: table, csv or json")
}

// query is what the flags ask for.
func (s *selection) query() (q account.Query, err error) {
	if s.format != "table" && s.format != "csv" && s.format != "json" {
		return q, fmt.Errorf("there is no format %q, only table, csv and json", s.format)
	}
	if q.Zone, err = time.LoadLocation(s.zone); err != nil {
		return q, fmt.Errorf("-tz: %w", err)
	}
	if q.Since, err = moment(s.since, q.Zone); err != nil {
		return q, fmt.Errorf("-since: %w", err)
	}
	if q.Until, err = moment(s.until, q.Zone); err != nil {
		return q, fmt.Errorf("-until: %w", err)
	}
	if !q.Since.IsZero() && !q.Until.IsZero() && !q.Since.Before(q.Until) {
		return q, fmt.Errorf("nothing is from %s on and before %s; -until is not included", s.since, s.until)
	}
	for _, t := range s.types {
		t = strings.TrimSuffix(t, "_usage") + "_usage"
		if !account.IsType(t) {
			return q, fmt.Errorf("-type: there is no %q, only llm, tts, stt, interruption and eot", strings.TrimSuffix(t, "_usage"))
		}
		q.Types = append(q.Types, t)
	}
	q.Providers, q.Models = s.providers, s.models
	for _, tag := range s.tags {
		k, v, ok := strings.Cut(tag, "=")
		if !ok || k == "" {
			return q, fmt.Errorf("-tag %q: want KEY=VALUE", tag)
		}
		if q.Tags == nil {
			q.Tags = make(map[string]string)
		}
		q.Tags[k] = v
	}
	for _, path := range s.prices {
		b, err := metrics.LoadPriceBook(path)
		if err != nil {
			return q, err
		}
		q.Books = append(q.Books, b)
	}
	return q, nil
}

// moment is the beginning of a day, or a time.
func moment(s string, zone *time.Location) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.ParseInLocation(time.DateOnly, s, zone); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("%q: want a day, 2006-01-02, or a time, 2006-01-02T15:04:05Z", s)
	}
	return t, nil
}

// dimensions reads the values of -by.
func dimensions(all list) (by []account.Dimension, err error) {
	if len(all) == 0 {
		return []account.Dimension{account.ByType, account.ByProvider, account.ByModel}, nil
	}
	for _, name := range strings.Split(strings.Join(all, ","), ",") {
		if name = strings.TrimSpace(name); name == "none" {
			continue
		}
		d, err := account.ParseDimension(name)
		if err != nil {
			return nil, fmt.Errorf("-by: %w", err)
		}
		by = append(by, d)
	}
	return by, nil
}
